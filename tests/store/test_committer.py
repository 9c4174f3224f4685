"""Between the pipeline and a journal that may refuse."""

from __future__ import annotations

import threading
from dataclasses import replace

import gevent
import pytest

from pumpwatch.model import Gap, GapState
from pumpwatch.records import Records
from pumpwatch.store import committer as module
from pumpwatch.store.committer import UNSTORED, Committer, percentile_ms
from tests.store.scripted_journal import VENUES, ScriptedJournal, batch, finish, gaps_of, ids, make, run_until, venue_gap


def restarted(one: Committer) -> None:
    """Run it as the supervisor does, without its back-off."""
    while True:
        try:
            one.run()
            return
        except IndexError:
            gevent.sleep(0.001)


def test_every_batch_is_committed_once_and_reported_in_order():
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


def test_latency_is_the_time_from_read_to_durable():
    one, _, _, clock = make()
    one.put(batch(0, 99, clock.now_ns() - 20_000_000), Records())
    one.put(batch(100, 1, clock.now_ns() - 500_000_000), Records())
    run_until(one, lambda: one.waiting_trades == 0)
    assert percentile_ms(one.latency_ms, 0.5) == 20
    assert percentile_ms(one.latency_ms, 0.999) == 500


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


def test_a_batch_that_waits_behind_later_ones_is_in_a_gap_before_they_are_stored_and_until_it_is():
    class Watched(ScriptedJournal):
        def commit(self, batch):
            number = super().commit(batch)
            self.known.append((ids([batch]), {(gap.exchange, gap.from_ns, gap.to_ns) for gap in gaps_of(self)}))
            return number

    one, journal, _, _ = make()
    journal.__class__, journal.known = Watched, []
    journal.poison = {4}
    one.put(batch(0, 10), Records())
    one.put(batch(10, 10), Records())
    for _ in range(4):
        with pytest.raises(IndexError):
            one.flush()
    assert one._commit()
    behind = {("one", -1, 81), ("two", 9, 91)}
    assert journal.known == [(list(range(10, 20)), behind)]  # a kill now costs the first batch, and they name it
    assert {gap.state for gap in gaps_of(journal)} == {GapState.OPEN}
    journal.poison = set()
    assert one.flush() and sorted(ids(journal.batches)) == list(range(20))
    assert {(gap.exchange, gap.from_ns, gap.to_ns) for gap in gaps_of(journal) if gap.state is GapState.FILLED} == behind


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


def test_stopping_while_the_journal_refuses_is_quick_and_reports_the_waiting_trades():
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


def test_a_greenlet_waits_until_what_was_put_is_durable():
    one, journal, _, _ = make()
    part = gevent.spawn(one.run)
    one.put(batch(0, 5), Records())
    assert one.wait_durable(10.0) and ids(journal.batches) == list(range(5))
    assert one.wait_durable(0.0)
    one.stop()
    part.join(5)


def test_a_full_disk_does_not_block_it_forever():
    one, journal, _, _ = make()
    journal.full = True
    part = gevent.spawn(one.run)
    one.put(batch(0, 5), Records())
    assert not one.wait_durable(0.1)
    part.kill()


def test_before_it_runs_what_is_held_can_be_replaced():
    one, journal, _, _ = make()
    one.put(batch(0, 5), Records())
    one.put(batch(5, 5), Records())
    assert ids([one.held()]) == list(range(10))
    one.replace_held([(held, held.batch.take(held.batch.trade_id >= 7)) for held in one.held_unfiltered()])
    assert one.held_unfiltered() == []
    one.put(batch(10, 1), Records())
    assert len(one.held_unfiltered()) == 1
    assert one.waiting_trades == 4
    assert one.flush()
    assert ids(journal.batches) == [7, 8, 9, 10]


def test_held_batches_of_which_nothing_is_left_are_gone_and_keep_their_used_up_ids():
    one, journal, _, _ = make()
    journal.pass_over = journal.history.append
    one.put(batch(0, 5), Records(passed=[(0, 7, 70)]))
    one.put(batch(5, 5, received_at=9), Records())
    one.replace_held([(held, held.batch.take(held.batch.trade_id >= 7)) for held in one.held_unfiltered()])
    assert one.oldest_waiting_ns == 9
    one.put(batch(10, 1), Records())
    assert one.flush() and journal.history == [[(0, 7, 70)], "trades"]


def test_a_held_batch_that_was_dropped_while_it_was_compared_is_not_counted_twice():
    one, _, _, _ = make(limit=10)
    one.put(batch(0, 8), Records())
    compared = [(held, held.batch.take(slice(0, 2))) for held in one.held_unfiltered()]
    one.put(batch(8, 8), Records())  # memory is full: the first batch goes
    one.replace_held(compared)
    assert one.waiting_trades == 8 and len(one.held()) == 8


def test_what_the_journal_never_took_is_a_gap_at_the_end():
    one, journal, _, _ = make()
    journal.full = True
    one.put(batch(0, 5), Records())
    assert not one.flush()
    assert one.give_up() == 5
    gaps = [gap for gap in one.rest().gaps if gap.reason == UNSTORED]
    assert sorted((gap.exchange, gap.from_ns, gap.to_ns) for gap in gaps) == [("one", 0, 41), ("two", 10, 31)]
