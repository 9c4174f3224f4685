"""Between the pipeline and a journal that may refuse."""

from __future__ import annotations

import threading
from dataclasses import replace

import gevent
import numpy as np
import pytest
from gevent.threadpool import ThreadPool

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import FakeClock
from pumpwatch.errors import StorageError
from pumpwatch.model import NO_SEQUENCE, Gap, GapState, Instrument, TradeBatch
from pumpwatch.records import Quarantined, Records
from pumpwatch.stats import Stats
from pumpwatch.store import committer as module
from pumpwatch.store import pending_records, recorder
from pumpwatch.store.committer import Committer, percentile_ms
from pumpwatch.store.journal import Journal
from tests.trades import batch_of, catalogue_of

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


def restarted(one: Committer) -> None:
    """Run it as the supervisor does, without its back-off."""
    while True:
        try:
            one.run()
            return
        except IndexError:
            gevent.sleep(0.001)


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
    gap = Gap(exchange="one", market_type="spot", from_ns=1, to_ns=2, reason="x")
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
    assert gaps_of(journal) == [gap]  # told twice, kept once


def test_latency_is_the_time_from_read_to_durable():
    one, _, _, clock = make()
    one.put(batch(0, 99, clock.now_ns() - 20_000_000), Records())
    one.put(batch(100, 1, clock.now_ns() - 500_000_000), Records())
    run_until(one, lambda: one.waiting_trades == 0)
    assert percentile_ms(one.latency_ms, 0.5) == 20
    assert percentile_ms(one.latency_ms, 0.999) == 500


def venue_gap(symbol: str = "", from_ns: int = 1, to_ns: int = 2) -> Gap:
    return Gap(exchange="one", market_type="spot", symbol=symbol, from_ns=from_ns, to_ns=to_ns, reason="x")


def test_records_survive_an_error_that_no_disk_is_to_blame_for():
    one, journal, _, _ = make()
    journal.broken = True
    one.put(batch(0, 5), Records(gaps=[venue_gap()]))
    with pytest.raises(IndexError):
        one.flush()
    assert one.waiting_trades == 5
    journal.broken = False
    assert one.flush()
    assert ids(journal.batches) == list(range(5)) and gaps_of(journal) == [venue_gap()]


def test_one_trade_that_cannot_be_stored_goes_to_quarantine_and_stops_no_other():
    one, journal, durable, _ = make()
    journal.poison = {33}
    for start in range(0, 50, 10):
        one.put(batch(start, 10), Records(gaps=[venue_gap(f"S{start}")]))
    part = gevent.spawn(restarted, one)
    gevent.sleep(0.1)
    one.put(batch(50, 10), Records())
    finish(one, part)
    assert sorted(ids(journal.batches)) == sorted(ids(durable)) == [number for number in range(60) if number != 33]
    (row,) = [row for records in journal.records for row in records.quarantine]
    assert (row.exchange, row.market_type) == VENUES[1] and "IndexError: no such column" in row.reason
    assert b"33" in row.payload
    assert {gap.symbol for gap in gaps_of(journal)} >= {f"S{start}" for start in range(0, 50, 10)}
    assert any((gap.exchange, gap.market_type) == VENUES[1] and gap.from_ns <= 330 < gap.to_ns for gap in gaps_of(journal))


def test_a_journal_that_fails_on_everything_blames_no_trade():
    one, journal, _, _ = make()
    journal.broken = True
    part = gevent.spawn(restarted, one)
    for start in range(0, 50, 10):
        one.put(batch(start, 10), Records())
        gevent.sleep(0.01)
    gevent.sleep(0.1)
    assert one.waiting_trades == 50
    journal.broken = False
    finish(one, part)
    assert sorted(ids(journal.batches)) == list(range(50))
    assert [row for records in journal.records for row in records.quarantine] == []


def test_a_fault_in_writing_records_stops_no_trade_and_the_records_wait(monkeypatch, caplog):
    class Faulty(ScriptedJournal):
        def record(self, records):
            if self.locked:
                raise IndexError("a fault of ours")
            super().record(records)

    monkeypatch.setattr(recorder, "RETRY_S", 0.01)
    _, _, durable, clock = make()
    journal = Faulty()
    journal.locked = True
    one = Committer(journal, ThreadPool(1), recorder.Recorder(journal.record, stats := Stats()), Catalogue(), clock, stats, 1000,
                    lambda number, batch: durable.append(batch))
    part = gevent.spawn(one.run)
    for start in range(0, 50, 10):
        one.put(batch(start, 10), Records(gaps=[venue_gap(f"S{start}")]))
        gevent.sleep(0.02)
    assert ids(durable) == list(range(50)) and one.waiting_trades == 0 and one.holds_something
    assert len([record for record in caplog.records if "records failed" in record.message]) == 1
    journal.locked = False
    one.stop()
    part.join(5)
    assert {gap.symbol for gap in gaps_of(journal)} == {f"S{start}" for start in range(0, 50, 10)}


def test_trades_are_committed_while_the_ledger_refuses_and_its_records_wait(monkeypatch):
    monkeypatch.setattr(recorder, "RETRY_S", 0.01)
    one, journal, durable, _ = make()
    journal.locked = True
    part = gevent.spawn(one.run)
    for start in range(0, 50, 10):
        one.put(batch(start, 10), Records(gaps=[venue_gap(from_ns=start, to_ns=start + 1)]))
        gevent.sleep(0.02)
    assert ids(durable) == list(range(50)) and journal.records == [] and one.holds_something
    journal.locked = False
    with gevent.Timeout(10):
        while one.holds_something:
            gevent.sleep(0.005)
    one.stop()
    part.join(5)
    assert [gap.from_ns for gap in gaps_of(journal)] == [0, 10, 20, 30, 40]


def test_trades_are_committed_while_the_ledger_hangs():
    one, journal, durable, _ = make()
    journal.ledger_gate = threading.Event()
    part = gevent.spawn(one.run)
    one.put(batch(0, 10), Records(gaps=[venue_gap()]))
    with gevent.Timeout(10):
        while one.waiting_trades:
            gevent.sleep(0.005)
    one.put(batch(10, 10), Records(gaps=[venue_gap("S1")]))
    with gevent.Timeout(10):
        while one.waiting_trades:
            gevent.sleep(0.005)
    assert ids(durable) == list(range(20)) and journal.records == []
    journal.ledger_gate.set()
    one.stop()
    part.join(5)
    assert gaps_of(journal) == [venue_gap(), venue_gap("S1")]


def test_those_who_keep_the_ledger_busy_hold_up_no_trade(tmp_path):
    catalogue, clock, stats, release = catalogue_of(), FakeClock(), Stats(), threading.Event()
    journal, thread, ledger_thread = Journal(tmp_path, catalogue, clock, stats), ThreadPool(1), ThreadPool(1)
    thread.apply(journal.open)
    durable: list[TradeBatch] = []
    one = Committer(journal, thread, recorder.Recorder(journal.record, stats), catalogue, clock, stats, 1000,
                    lambda number, batch: durable.append(batch))

    def busy():
        with journal.ledger._lock:
            release.wait(20)

    users = [gevent.spawn(ledger_thread.apply, busy) for _ in range(4)]
    part = gevent.spawn(one.run)
    gevent.sleep(0.05)
    for number in range(3):
        one.put(batch_of(10, first_id=1 + 10 * number), Records(gaps=[venue_gap(from_ns=number, to_ns=number + 1)]))
        with gevent.Timeout(5):
            while len(durable) <= number:
                gevent.sleep(0.005)
    assert not release.is_set() and one.holds_something
    release.set()
    gevent.joinall(users)
    one.stop()
    part.join(5)
    assert [gap.from_ns for _, gap in journal.ledger.gaps()] == [0, 1, 2]
    thread.apply(journal.close)


def test_a_gap_is_recorded_before_the_trades_that_step_over_it_and_as_filled_after_those_that_fill_it():
    one, journal, _, _ = make()
    filled = replace(venue_gap("S1"), state=GapState.FILLED)
    one.put(batch(0, 10), Records(gaps=[venue_gap("S0"), filled]))
    assert one.flush()
    assert journal.history == ["records", "trades", "records"]
    assert gaps_of(journal) == [venue_gap("S0"), filled]


def test_a_gap_stays_open_while_the_trades_that_fill_it_wait_and_for_good_where_they_are_dropped():
    one, journal, _, _ = make(limit=25)
    filled = [replace(venue_gap(f"S{number}"), state=GapState.FILLED) for number in range(3)]
    journal.full = True
    one.put(batch(0, 10), Records(gaps=[filled[0]]))
    one.put(None, Records(gaps=[filled[1]]))
    assert not one.flush()
    journal.full = False
    assert one.flush() and gaps_of(journal) == filled[:2]
    journal.full = True
    for start in range(10, 60, 10):
        one.put(batch(start, 10), Records(gaps=[filled[2]] if start == 30 else []))
    assert not one.flush()
    journal.full = False
    assert one.flush()
    assert filled[2] not in gaps_of(journal)


def test_gaps_of_two_connections_lost_at_one_moment_are_two_and_fold_into_one_of_their_venue(monkeypatch):
    one, journal, _, _ = make()
    gaps = [replace(venue_gap(from_ns=10, to_ns=20), symbols=(f"S{number}", "S9")) for number in range(3)]
    one.put(None, Records(gaps=gaps))
    assert one.flush() and gaps_of(journal) == gaps
    journal.records.clear()
    monkeypatch.setattr(pending_records, "GAPS_KEPT", 2)
    one.put(None, Records(gaps=gaps))
    assert one.flush()
    (gap,) = gaps_of(journal)
    assert (gap.symbols, gap.from_ns, gap.to_ns) == ((), 10, 20) and gap.touches("anything")


def test_what_is_dropped_while_the_journal_refuses_is_one_growing_gap_a_venue():
    one, journal, _, _ = make(limit=25)
    journal.full = True
    for start in range(0, 20_000, 10):
        one.put(batch(start, 10), Records())
        if start % 1000 == 0:
            assert not one.flush()
    journal.full = False
    assert one.flush()
    assert ids(journal.batches) == list(range(19_980, 20_000))
    assert sorted((gap.exchange, gap.from_ns, gap.to_ns) for gap in gaps_of(journal)) == [
        ("one", 0, 199_781), ("two", 10, 199_791)]


def test_drops_of_another_outage_are_another_gap():
    one, journal, _, _ = make(limit=25)
    for outage in range(2):
        journal.full = True
        for start in range(outage * 1000, outage * 1000 + 60, 10):
            one.put(batch(start, 10), Records())
        assert not one.flush()
        journal.full = False
        assert one.flush()
    assert sorted(gap.from_ns for gap in gaps_of(journal) if gap.exchange == "one") == [0, 10_000]


def test_quarantine_is_kept_up_to_a_bound_while_the_journal_refuses_and_the_rest_is_a_gap(monkeypatch, caplog):
    monkeypatch.setattr(pending_records, "QUARANTINE_KEPT", 100)
    one, journal, _, _ = make()
    journal.full = True
    for number in range(1000):
        one.put(None, Records(quarantine=[Quarantined(10**12 + number, "one", "spot", "no JSON", b"x")]))
        assert number % 100 or not one.flush()
    journal.full = False
    assert one.flush()
    (records,) = journal.records
    assert [row.at_ns for row in records.quarantine] == [10**12 + number for number in range(900, 1000)]
    (gap,) = records.gaps
    assert gap.from_ns < 10**12 and gap.to_ns == 10**12 + 900 and "refused frames" in gap.reason
    assert len([record for record in caplog.records if "records dropped" in record.message]) == 1


def test_a_gap_told_again_while_the_journal_refuses_is_kept_once():
    one, journal, _, _ = make()
    journal.full = True
    for number in range(500):
        one.put(None, Records(gaps=[venue_gap(to_ns=2 + number)]))
        assert number % 100 or not one.flush()
    journal.full = False
    assert one.flush()
    assert gaps_of(journal) == [venue_gap(to_ns=501)]


def test_too_many_gaps_of_single_symbols_become_one_of_their_venue(monkeypatch):
    monkeypatch.setattr(pending_records, "GAPS_KEPT", 50)
    one, journal, _, _ = make()
    one.put(None, Records(gaps=[venue_gap(f"S{number}", 10 * number, 10 * number + 5) for number in range(60)]))
    assert one.flush()
    (gap,) = gaps_of(journal)
    assert (gap.symbol, gap.from_ns, gap.to_ns) == ("", 0, 595)


def test_what_the_journal_is_at_work_on_is_not_dropped():
    one, journal, _, _ = make(limit=25)
    journal.gate = threading.Event()
    part = gevent.spawn(one.run)
    one.put(batch(0, 20), Records())
    gevent.sleep(0.05)
    for start in range(20, 60, 20):
        one.put(batch(start, 20), Records())
    journal.gate.set()
    finish(one, part)
    stored = ids(journal.batches)
    assert stored == [*range(20), *range(40, 60)]
    assert not any(gap.from_ns <= number * 10 < gap.to_ns and (gap.exchange, gap.market_type) == VENUES[number % 2]
                   for gap in gaps_of(journal) for number in stored)


def test_what_waited_for_the_disk_is_stored_in_parts(monkeypatch):
    monkeypatch.setattr(module, "COMMIT_ROWS", 40)
    one, journal, durable, _ = make()
    for start in range(0, 200, 10):
        one.put(batch(start, 10), Records())
    assert one.flush()
    assert [len(part) for part in journal.batches] == [40] * 5 and ids(durable) == list(range(200))


def test_killed_in_mid_commit_nothing_is_committed_twice():
    one, journal, durable, _ = make()
    journal.gate = threading.Event()
    one.put(batch(0, 10), Records())
    part = gevent.spawn(one.run)
    gevent.sleep(0.05)
    part.kill()
    one.put(batch(10, 10), Records())
    journal.gate.set()
    assert one.flush()
    assert ids(journal.batches) == ids(durable) == list(range(20))


def test_stopping_while_the_journal_refuses_is_quick_and_says_what_waits():
    one, journal, _, _ = make()
    journal.full = True
    part = gevent.spawn(one.run)
    one.put(batch(0, 10), Records())
    gevent.sleep(0.05)
    one.stop()
    part.join(0.5)
    assert part.dead and one.waiting_trades == 10


def test_what_waits_for_the_journals_thread_is_seen_to_wait():
    one, journal, _, _ = make()
    gate = threading.Event()
    for _ in range(2):  # the one place and the one to wait in
        gevent.spawn(one._thread.apply, gate.wait, (10,))
    gevent.sleep(0.01)
    part = gevent.spawn(one.run)
    one.put(batch(0, 10, received_at=5), Records())
    gevent.sleep(0.05)
    assert one.holds_something
    assert one.oldest_waiting_ns == 5
    filled = Gap(exchange="one", market_type="spot", from_ns=0, to_ns=1, reason="x",
                 state=GapState.FILLED)
    one.put(None, Records(gaps=[filled]))
    gevent.sleep(0.01)
    assert gaps_of(journal) == [], "it is filled once its trades are stored"
    gate.set()
    finish(one, part)
    assert gaps_of(journal) == [filled]
    assert one.oldest_waiting_ns == 0
