"""One minute that shows everything, and counts it."""
