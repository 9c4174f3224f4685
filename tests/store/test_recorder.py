"""Records reach the ledger whatever it does, and hold up no trade."""

from __future__ import annotations

import threading
from dataclasses import replace

import gevent
import pytest
from gevent.threadpool import ThreadPool

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import FakeClock
from pumpwatch.errors import StorageError
from pumpwatch.model import Gap, GapState, TradeBatch
from pumpwatch.records import ConnectionEvent, Quarantined, Records
from pumpwatch.stats import Stats
from pumpwatch.store import committer as module
from pumpwatch.store import recorder
from pumpwatch.store.committer import Committer
from pumpwatch.store.journal import Journal
from tests.store.scripted_journal import ScriptedJournal, batch, gaps_of, ids, make, venue_gap
from tests.trades import batch_of, catalogue_of


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
    assert len([record for record in caplog.records if "records not written" in record.message]) == 1
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


def test_records_that_trades_overtake_are_on_disk_first(monkeypatch):
    monkeypatch.setattr(recorder, "RETRY_S", 0.01)
    journal, stats, clock = ScriptedJournal(), Stats(), FakeClock()
    kept: list[list[Gap]] = []

    def keep(records: Records) -> bool:
        journal.history.append("kept")
        kept.append(records.gaps)
        return True

    one = Committer(journal, ThreadPool(1), recorder.Recorder(journal.record, stats, keep), Catalogue(), clock, stats, 1000,
                    lambda number, batch: None)
    journal.ledger_gate = threading.Event()
    for number in range(2):  # the first write hangs, and the second batch comes while it does
        one.put(batch(10 * number, 10), Records(gaps=[venue_gap(f"S{number}")]))
        assert one._commit()
    assert journal.history == ["kept", "trades"] * 2 and kept == [[venue_gap("S0")], [venue_gap("S0"), venue_gap("S1")]]
    one.put(batch(20, 10), Records())
    assert one._commit() and len(kept) == 2  # nothing new
    journal.locked = True
    journal.ledger_gate.set()
    one.put(batch(30, 10), Records(gaps=[venue_gap("S2")]))
    assert one._commit() and journal.history[-2:] == ["kept", "trades"] and len(kept[-1]) == 3
    journal.locked = False
    assert one.flush()
    with gevent.Timeout(10):
        while kept[-1]:
            gevent.sleep(0.001)
    assert set(gaps_of(journal)) == {venue_gap(f"S{number}") for number in range(3)}


def test_what_could_not_be_kept_is_kept_later() -> None:
    room: list[bool] = []
    one = recorder.Recorder(Ledger(locked=True).write, Stats(), lambda records: bool(room))
    one.record(Records(gaps=[venue_gap()]))
    assert not one.flush(5.0) and one._keeping is not None and one._keeping.value is False
    room.append(True)
    assert not one.flush(5.0) and one._keeping is not None and one._keeping.value is True
    keeping = one._keeping
    assert not one.flush(5.0) and one._keeping is None and keeping.ready()


class Ledger:
    """Takes records, or refuses them while `locked`."""

    def __init__(self, locked: bool = False) -> None:
        self.locked = locked
        self.written: list[Gap] = []

    def write(self, records: Records) -> None:
        if self.locked:
            raise StorageError("database is locked")
        self.written += records.gaps


def test_a_gap_is_counted_once_however_often_it_is_recorded_as_it_grows() -> None:
    stats = Stats()
    one = recorder.Recorder(Ledger().write, stats)
    for to_ns in range(3, 9):
        one.record(Records(gaps=[venue_gap(to_ns=to_ns)]))
    one.record(Records(gaps=[venue_gap(from_ns=50, to_ns=60)]))
    assert stats.get("gaps_total", venue="one.spot", state="open") == 2


def test_gaps_of_one_moment_are_counted_apart_by_their_ids_and_states() -> None:
    stats = Stats()
    one = recorder.Recorder(Ledger().write, stats)
    jumps = [replace(venue_gap("S1"), first_id=first_id, last_id=first_id + 1) for first_id in (6, 9, 12)]
    for _ in range(2):
        one.record(Records(gaps=[*jumps, replace(jumps[0], state=GapState.FILLED)]))
    assert stats.get("gaps_total", venue="one.spot", state="open") == 3
    assert stats.get("gaps_total", venue="one.spot", state="filled") == 1


def test_a_growing_gap_is_counted_once_among_any_number_of_jumps_in_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "COUNTED_KEPT", 3)
    stats = Stats()
    one = recorder.Recorder(Ledger().write, stats)
    for number in range(10):
        one.record(Records(gaps=[venue_gap(to_ns=3 + number), venue_gap(f"S{number}", from_ns=number),
                                 replace(venue_gap("S1"), first_id=number, last_id=number)]))
    assert stats.get("gaps_total", venue="one.spot", state="open") == 21


def test_what_was_recorded_wakes_the_committer_soon_and_is_written_by_a_flush(monkeypatch) -> None:
    monkeypatch.setattr(recorder, "GATHER_S", 0.01)
    ledger = Ledger()
    one = recorder.Recorder(ledger.write, Stats())
    one.record(Records())
    assert one._wake is None
    one.record(Records(gaps=[venue_gap()]))
    assert not one.arrived.is_set() and one.arrived.wait(5)
    assert one.flush(5.0) and ledger.written == [venue_gap()] and not one.holds_something


def test_a_ledger_that_refuses_is_retried_later_or_at_once_if_required() -> None:
    ledger = Ledger()
    one = recorder.Recorder(ledger.write, Stats())
    one.record(Records(gaps=[venue_gap()]))
    ledger.locked = True
    assert not one.flush(5.0) and one.rest().gaps == [venue_gap()]
    ledger.locked = False
    assert not one.flush(5.0)
    assert one.flush(5.0, at_once=True) and ledger.written == [venue_gap()]


def test_losses_of_one_reason_are_one_gap_until_they_end() -> None:
    ledger = Ledger()
    one = recorder.Recorder(ledger.write, Stats())
    for from_ns in (10, 20, 5):
        one.record_loss("one", "spot", from_ns, from_ns + 1, "dropped")
    assert one.flush(5.0) and [(gap.from_ns, gap.to_ns) for gap in ledger.written] == [(5, 21)]
    one.end_losses("dropped")
    one.record_loss("one", "spot", 30, 31, "dropped")
    assert one.flush(5.0) and [(gap.from_ns, gap.to_ns) for gap in ledger.written] == [(5, 21), (30, 31)]


def test_gaps_that_another_process_answers_for_are_forgotten_and_quarantined_frames_are_not() -> None:
    written: list[Records] = []
    kept = recorder.Recorder(written.append, Stats())
    frame = Quarantined(1, "one", "spot", "why", b"frame")
    kept.record(Records(gaps=[venue_gap()], connection_events=[ConnectionEvent(1, "one", "spot", 1, "up", "")],
                        quarantine=[frame]))
    kept.forget_gaps()
    assert kept.flush(5.0)
    assert [(records.gaps, records.connection_events, records.quarantine) for records in written] == [([], [], [frame])]
