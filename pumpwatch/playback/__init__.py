"""Playback: a recorded listing, served in the exchanges' own protocols."""
