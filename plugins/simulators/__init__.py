"""Dialects: the protocol of each exchange, as the simulator plays it."""
