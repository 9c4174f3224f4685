"""Market data: candles, tickers, order books and trades, in a store beside the journal and fed by it."""
