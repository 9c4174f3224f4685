"""Store trades in memory, the journal and the sinks, and find them again."""
