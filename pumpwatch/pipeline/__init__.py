"""Turn frames into clean batches of trades: parse them, drop repeated trades, record missing ids."""
