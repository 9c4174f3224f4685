"""Changes to a data folder, and the figures of a collector, for the tests of `ops`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pumpwatch.clock import NS_PER_S, FakeClock
from pumpwatch.model import Gap, TradeBatch
from pumpwatch.records import Records
from pumpwatch.stats import Stats
from pumpwatch.store.journal import Journal
from tests.trades import batch_of, catalogue_of

CLOCK = FakeClock()
GAP = Gap(exchange="binance", market_type="spot", symbol="C0USDT", from_ns=1, to_ns=2, first_id=1, last_id=3, reason="test")


def store(folder: Path, *records: Records) -> None:
    """Store 1,000 trades and these records in a data folder."""
    journal = Journal(folder, catalogue_of(), FakeClock(), Stats())
    journal.open()
    for record in records:
        journal.record(record)
    journal.commit(batch_of(1000))
    journal.close()


def everything(folder: Path) -> TradeBatch:
    """Return every trade of a data folder."""
    journal = Journal(folder, catalogue_of(), FakeClock(), Stats())
    journal.open()
    batches = [batch for _, batch in journal.read_after(0, 100_000)]
    journal.close()
    return TradeBatch.concat(batches)


def damage(folder: Path) -> None:
    """Overwrite bytes in the middle of the first segment."""
    file = min((folder / "journal").glob("*.sqlite"))
    content = bytearray(file.read_bytes())
    middle = len(content) // 2
    content[middle:middle + 2000] = bytes(2000)
    file.write_bytes(content)


def figures(**changes: Any) -> dict[str, Any]:
    """Return the figures of a collector with three venues, a sink and two boards."""
    venue = {"connections_up": 2, "connections": 3, "instruments": 450, "subscribed": 448, "refused": ["AUSDT", "BUSDT"],
             "trades_total": 1_234_567,
             "trades_per_s": 812.4, "lag_ms": 61.2, "gaps_open": 1, "quarantined_total": 7_654, "list_problem": ""}
    return {
        "pid": os.getpid(), "started_at_ns": CLOCK.now_ns() - 3_725 * NS_PER_S, "written_at_ns": CLOCK.now_ns(),
        "version": "0.1.0",
        "venues": [{"exchange": "alpha", "market_type": "spot", **venue},
                   {"exchange": "alpha", "market_type": "futures", **venue, "lag_ms": 90.0},
                   {"exchange": "beta", "market_type": "spot", **venue, "gaps_open": 0, "list_problem": "HTTP 502: [/busy]"}],
        "journal": {"backlog_trades": 4321, "bytes": 1_500_000_000, "last_commit_ns": CLOCK.now_ns(), "commits": 99},
        "sinks": [{"name": "questdb", "state": "up", "backlog_trades": 17}],
        "recent": {"trades": 900_000, "bytes": 20_000_000},
        "listing": {"board": {"up": True}, "other": {"up": False, "reason": "HTTP 429 [/]"}, "windows": {"open": 2}},
        **changes}
