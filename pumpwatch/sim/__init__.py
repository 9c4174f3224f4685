"""Simulated venues: a real server that speaks as the exchanges do."""
