"""Tells people and programs about listings: channels, their messages, and what waits for them."""
