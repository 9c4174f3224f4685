"""Gaps to trades: what to ask a venue's history, in which order, within which budget, and the proof after the fill."""
