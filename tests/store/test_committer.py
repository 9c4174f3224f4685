"""Between the pipeline and a journal that may refuse."""

from __future__ import annotations

import gevent
import numpy as np
from gevent.threadpool import ThreadPool

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import FakeClock
from pumpwatch.errors import StorageError
from pumpwatch.model import NO_SEQUENCE, Gap, Instrument, TradeBatch
from pumpwatch.records import Records
from pumpwatch.stats import Stats
from pumpwatch.store import committer as module
from pumpwatch.store.committer import Committer, percentile_ms

VENUES = (("one", "spot"), ("two", "futures"))


class ScriptedJournal:
    """Refuses while told to; keeps what it took."""

    def __init__(self):
        self.full = False
        self.batches, self.records, self.calls = [], [], 0

    def commit(self, batches, records=None):
        self.calls += 1
        if self.full:
            raise StorageError("disk full")
        self.batches += batches
        self.records.append(records)
        return len(self.batches)


def make(limit: int = 1000):
    catalogue = Catalogue()
    for number, venue in enumerate(VENUES):
        catalogue.add(venue, Instrument(symbol=f"S{number}", base=f"S{number}", quote="USDT"))
    journal, durable = ScriptedJournal(), []
    clock = FakeClock()
    one = Committer(journal, ThreadPool(1), catalogue, clock, Stats(), limit, lambda number, batch: durable.append(batch))
    return one, journal, durable, clock


def batch(first: int, count: int, received_at: int = 0) -> TradeBatch:
    ids = np.arange(first, first + count)
    ones = np.ones(count)
    return TradeBatch(ids * 10, (ids % 2).astype(np.int32), ones, ones, np.zeros(count, np.uint8), ids,
                      np.full(count, NO_SEQUENCE), np.full(count, received_at), np.zeros(count, np.uint8))


def ids(batches) -> list[int]:
    return TradeBatch.concat(batches).trade_id.tolist()


def run_until(one: Committer, done) -> None:
    part = gevent.spawn(one.run)
    with gevent.Timeout(10):
        while not done():
            gevent.sleep(0.005)
    one.stop()
    part.join(5)
    assert part.dead


def test_everything_put_is_committed_once_and_in_order_and_then_told():
    one, journal, durable, _ = make()
    for start in range(0, 50, 10):
        one.put(batch(start, 10), Records())
    run_until(one, lambda: one.waiting_trades == 0)
    assert ids(journal.batches) == ids(durable) == list(range(50))


def test_stopping_commits_what_is_left():
    one, journal, _, _ = make()
    part = gevent.spawn(one.run)
    gevent.sleep(0.01)
    one.put(batch(0, 5), Records())
    one.stop()
    part.join(5)
    assert ids(journal.batches) == list(range(5)) and one.waiting_trades == 0


def test_while_the_disk_is_full_trades_wait_and_are_stored_when_there_is_room(monkeypatch):
    monkeypatch.setattr(module, "RETRY_S", 0.01)
    one, journal, durable, _ = make()
    journal.full = True
    part = gevent.spawn(one.run)
    for start in range(0, 50, 10):
        one.put(batch(start, 10), Records())
        gevent.sleep(0.01)
    assert durable == [] and one.waiting_trades == 50 and journal.calls > 1
    journal.full = False
    with gevent.Timeout(10):
        while one.waiting_trades:
            gevent.sleep(0.005)
    one.stop()
    part.join(5)
    assert ids(journal.batches) == list(range(50))


def test_beyond_the_limit_the_oldest_are_dropped_and_each_drop_is_a_gap_with_its_bounds(monkeypatch):
    monkeypatch.setattr(module, "RETRY_S", 0.01)
    one, journal, _, _ = make(limit=25)
    journal.full = True
    part = gevent.spawn(one.run)
    for start in range(0, 50, 10):
        one.put(batch(start, 10), Records())
    gevent.sleep(0.05)
    journal.full = False
    with gevent.Timeout(10):
        while one.waiting_trades:
            gevent.sleep(0.005)
    one.stop()
    part.join(5)
    stored = ids(journal.batches)
    assert stored == list(range(30, 50))
    gaps: list[Gap] = [gap for records in journal.records for gap in records.gaps]
    assert {(gap.exchange, gap.market_type) for gap in gaps} == set(VENUES)
    for number in set(range(50)) - set(stored):
        exchange, market_type = VENUES[number % 2]
        assert any((gap.exchange, gap.market_type) == (exchange, market_type) and gap.from_ns <= number * 10 < gap.to_ns
                   for gap in gaps), number


def test_records_of_a_refused_commit_are_not_lost(monkeypatch):
    monkeypatch.setattr(module, "RETRY_S", 0.01)
    one, journal, _, _ = make()
    journal.full = True
    gap = Gap(exchange="one", market_type="spot", symbol="", from_ns=1, to_ns=2, first_id=None, last_id=None, reason="x")
    part = gevent.spawn(one.run)
    one.put(None, Records(gaps=[gap]))
    gevent.sleep(0.05)
    one.put(None, Records(gaps=[gap]))
    journal.full = False
    with gevent.Timeout(10):
        while not journal.records:
            gevent.sleep(0.005)
    one.stop()
    part.join(5)
    assert [found for records in journal.records for found in records.gaps] == [gap, gap]


def test_latency_is_the_time_from_read_to_durable():
    one, _, _, clock = make()
    one.put(batch(0, 99, clock.now_ns() - 20_000_000), Records())
    one.put(batch(100, 1, clock.now_ns() - 500_000_000), Records())
    run_until(one, lambda: one.waiting_trades == 0)
    assert percentile_ms(one.latency_ms, 0.5) == 20
    assert percentile_ms(one.latency_ms, 0.999) == 500
