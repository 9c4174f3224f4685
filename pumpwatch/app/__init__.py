"""The collector: every stage, joined. This package joins stages and knows no detail of any.

    exchange -ws-> feeds -> net.sweep -> frames -> pipeline.ingest -TradeBatch-> store.committer -> store.journal
                                                        |                             | durable
                                                        | gaps, quarantine            +-> store.recent (memory)
                                                        +-> journal's ledger          +-> store.drain -> sink
    notice board -> listing.watch -> listing.window -> store.query (recent, journal, sinks) -> archive
"""
