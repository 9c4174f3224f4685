"""A data folder with a filled ledger, and ways to harm it, for the tests of the collector's own ledger."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from pumpwatch.clock import NS_PER_S, FakeClock
from pumpwatch.model import Gap, Listing, Notice
from pumpwatch.records import ConnectionEvent, Quarantined, Records
from pumpwatch.stats import Stats
from pumpwatch.store.journal import Journal
from pumpwatch.store.lasting import LastingLedger
from pumpwatch.store.ledger import Ledger
from tests.trades import batch_of, catalogue_of

START_NS = 1_790_000_000 * NS_PER_S


PAGE = 4096


GAPS = [Gap(exchange="binance", market_type="spot", symbol=f"C{number}USDT", from_ns=number * 10, to_ns=number * 10 + 5,
            reason="a reason of some length, so that few of them are on a page", symbols=())
        for number in range(80)]


LISTINGS = [Listing(source="upbit", notice_id=str(number), symbol="PEPE", title="t" * 100, announced_at_ns=1,
                    detected_at_ns=number, triggered_at_ns=3) for number in range(40)]


NOTICES = [Notice(source="upbit", notice_id=str(number), title="t" * 100, category="c", published_at_ns=1, updated_at_ns=1)
           for number in range(40)]


def opened(folder: Path) -> LastingLedger:
    return LastingLedger(folder, FakeClock(START_NS), Stats())


def journal_of(folder: Path) -> Journal:
    return Journal(folder, catalogue_of(), FakeClock(START_NS), Stats())


def filled(folder: Path, first_id: int = 1) -> None:
    """Leave what a run leaves: trades, and a ledger of many pages."""
    journal = journal_of(folder)
    journal.open()
    journal.commit(batch_of(100, first_id=first_id))
    journal.record(Records(GAPS, [ConnectionEvent(at, "binance", "spot", 1, "down", "1006") for at in range(80)],
                           [Quarantined(at, "binance", "spot", "no JSON", b"x" * 500) for at in range(20)]))
    for listing, notice in zip(LISTINGS, NOTICES, strict=True):
        journal.ledger.remember_listing(listing)
        journal.ledger.remember_notices([(notice, "other", "a")])
    journal.close()


def damage(path: Path, page: int) -> None:
    with path.open("r+b") as file:
        file.seek(page * PAGE)
        file.write(random.Random(page).randbytes(PAGE))


def reasons(ledger: Ledger) -> set[str]:
    return {gap.reason for _, gap in ledger.gaps()} - {GAPS[0].reason}


@contextmanager
def locked(path: Path) -> Iterator[None]:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


def use_all(ledger: LastingLedger) -> None:
    """Touch every table, as a run does sooner or later."""
    ledger.write(Records([replace(GAPS[0], symbol="NEW")], [ConnectionEvent(1, "x", "spot", 1, "up", "")],
                         [Quarantined(1, "x", "spot", "no JSON", b"")]))
    ledger.gaps()
    ledger.connection_events()
    ledger.quarantine()
    ledger.listings()
    ledger.seen_notices("upbit", ["5"])
    ledger.notice_count("upbit")
    ledger.remember_notices([(replace(NOTICES[0], notice_id="new"), "other", "a")])
    ledger.upkeep(START_NS)
    ledger.check()
