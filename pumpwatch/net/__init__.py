"""Sockets: streams, frames, HTTP, back-off and rate limits."""
