"""Join the stages into a collector. This package does not know the details of any stage.

    exchange -ws-> feeds -> net.sweep -> frames -> pipeline.ingest -TradeBatch-> store.committer -> store.journal
                     |                                  |                             | durable
                     | gaps, connection events          | gaps, quarantine            +-> store.recent (memory)
                     +--------> store.recorder <--------+--- rejected rows -----------+-> store.drain -> sink
                                    -> ledger
    notice board -> listing.watch -> listing.window -> store.query (recent, journal, sinks) -> archive
"""
