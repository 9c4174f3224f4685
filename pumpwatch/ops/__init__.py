"""Keeping a running collector healthy."""
