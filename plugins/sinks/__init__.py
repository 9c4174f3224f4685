"""Databases that keep trades beside the journal."""
