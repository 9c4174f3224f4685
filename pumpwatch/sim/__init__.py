"""Simulated venues: a real server that speaks the exchanges' protocols."""
