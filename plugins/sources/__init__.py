"""Notice boards."""
