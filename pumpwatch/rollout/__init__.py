"""Give a sink its instruments in phases, compare it with the stored trades, and roll it back if it fails."""
