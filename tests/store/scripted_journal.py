"""A journal that refuses and fails by script, and a committer on it, for the tests of committer, recorder and pending records."""

from __future__ import annotations

import gevent
import numpy as np
from gevent.threadpool import ThreadPool

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import FakeClock
from pumpwatch.errors import StorageError
from pumpwatch.model import NO_SEQUENCE, Gap, Instrument, TradeBatch
from pumpwatch.stats import Stats
from pumpwatch.store import recorder
from pumpwatch.store.committer import Committer

VENUES = (("one", "spot"), ("two", "futures"))


class ScriptedJournal:
    """Refuses while told to, fails on a `poison` id or, `broken`, on everything; keeps what it took, in order.

    `locked` is its ledger alone: what it refuses then is no trade.
    """

    def __init__(self):
        self.full = self.locked = False
        self.poison: set[int] = set()
        self.broken = False
        self.gate = self.ledger_gate = None
        self.batches, self.records, self.calls = [], [], 0
        self.history: list[str] = []

    def commit(self, batch):
        self.calls += 1
        if self.gate is not None:
            self.gate.wait(10)
        if self.full:
            raise StorageError("disk full")
        if self.broken or self.poison & set(ids([batch])):
            raise IndexError("no such column")
        self.batches.append(batch)
        self.history.append("trades")
        return len(self.batches)

    def record(self, records):
        if self.ledger_gate is not None:
            self.ledger_gate.wait(10)
        if self.full or self.locked:
            raise StorageError("database is locked")
        self.records.append(records)
        self.history.append("records")


def make(limit: int = 1000):
    catalogue = Catalogue()
    for number, venue in enumerate(VENUES):
        catalogue.add(venue, Instrument(symbol=f"S{number}", base=f"S{number}", quote="USDT"))
    journal, durable = ScriptedJournal(), []
    clock = FakeClock()
    one = Committer(journal, ThreadPool(1), recorder.Recorder(journal.record, stats := Stats()), catalogue, clock, stats, limit,
                    lambda number, batch: durable.append(batch))
    return one, journal, durable, clock


def batch(first: int, count: int, received_at: int = 0) -> TradeBatch:
    ids = np.arange(first, first + count)
    ones = np.ones(count)
    return TradeBatch(ids * 10, (ids % 2).astype(np.int32), ones, ones, np.zeros(count, np.uint8), ids,
                      np.full(count, NO_SEQUENCE), np.full(count, received_at), np.zeros(count, np.uint8))


def ids(batches) -> list[int]:
    return TradeBatch.concat(batches).trade_id.tolist()


def finish(one: Committer, part: gevent.Greenlet) -> None:
    with gevent.Timeout(20):
        while one.waiting_trades:
            gevent.sleep(0.005)
    one.stop()
    part.join(5)
    assert part.dead


def gaps_of(journal: ScriptedJournal) -> list[Gap]:
    return [gap for records in journal.records for gap in records.gaps]


def run_until(one: Committer, done) -> None:
    part = gevent.spawn(one.run)
    with gevent.Timeout(10):
        while not done():
            gevent.sleep(0.005)
    one.stop()
    part.join(5)
    assert part.dead


def venue_gap(symbol: str = "", from_ns: int = 1, to_ns: int = 2) -> Gap:
    return Gap(exchange="one", market_type="spot", symbol=symbol, from_ns=from_ns, to_ns=to_ns, reason="x")
