"""Places symbols on connections, and keeps those connections."""
