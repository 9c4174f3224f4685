"""Stores beyond the journal."""
