"""Which symbols on which connection, and keeping those connections."""
