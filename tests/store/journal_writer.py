"""A process that commits until it is killed: `python -m tests.store.journal_writer FOLDER [FILE_BYTES]`.

Prints `open LAST_TRADE`, then for each commit that returned a line with its last trade, or `refused TEXT`. A refused
commit is made again, with what came meanwhile, as the collector does. FILE_BYTES limits the size of every file it
writes; a line on stdin lifts the limit.
"""

from __future__ import annotations

import resource
import select
import sys
from pathlib import Path

from pumpwatch.clock import Clock
from pumpwatch.errors import StorageError
from pumpwatch.model import Gap, TradeBatch
from pumpwatch.records import Records
from pumpwatch.stats import Stats
from pumpwatch.store.journal import Journal
from tests.trades import batch_of, catalogue_of


def main(folder: Path, file_bytes: int | None) -> None:
    journal = Journal(folder, catalogue_of(), Clock(), Stats(), segment_bytes=60_000)
    recovery = journal.open()
    last = max((number for number, _ in recovery.last_ids.values()), default=0)
    print("open", last, flush=True)
    if file_bytes:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, resource.RLIM_INFINITY))
    waiting: list[TradeBatch] = []
    while True:
        batch = batch_of(200, first_id=last + 1)
        last += len(batch)
        waiting.append(batch)
        gap = Gap(exchange="binance", market_type="spot", from_ns=last, to_ns=last + 1, reason="test")
        try:
            journal.record(Records(gaps=[gap]))
            journal.commit(TradeBatch.concat(waiting))
        except StorageError as error:
            print("refused", error.message, flush=True)
            if select.select([sys.stdin], [], [], 0.05)[0] and sys.stdin.readline():
                resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            continue
        waiting.clear()
        print(last, flush=True)
        journal.acknowledge("questdb", journal._last_id)
        journal.maintain()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else None)
