"""Several collectors that work as one: they agree in Redis on who reads what, without gaps and without two holders of a lease."""
