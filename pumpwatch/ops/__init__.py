"""Checks, alerts, metrics, retention and logs that keep a collector healthy."""
