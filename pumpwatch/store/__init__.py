"""Store trades in memory, the journal and the sinks, and query them."""
