"""From frames to clean batches of trades: parse, dedupe, continuity."""
