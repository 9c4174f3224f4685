"""Give a sink its instruments in phases, compare it with what is stored here, and take it back where it fails."""
