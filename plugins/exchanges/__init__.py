"""One module an exchange."""
