"""Strategies of paper trading that ship with PumpWatch."""
