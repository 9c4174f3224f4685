"""From frames to clean batches of trades: parse, drop repeated trades, record missing ids."""
