"""Notify people and programs of listings and alerts: channels, their messages, and the outboxes in which messages wait."""
