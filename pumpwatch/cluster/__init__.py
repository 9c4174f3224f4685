"""Several collectors as one: who reads what, agreed on in Redis, without a hole and without a claim that two hold."""
