"""Candles follow the journal exactly, whatever comes late or twice, and whenever a pass is cut off."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pumpwatch.errors import StorageError
from pumpwatch.market import journal_follower
from pumpwatch.market.candle_columns import CandleColumns, CandleOrigin
from pumpwatch.market.candle_keeper import CandleKeeper
from pumpwatch.market.intervals import INTERVALS_NS, MINUTE, MINUTE_NS
from pumpwatch.market.journal_follower import MARK, JournalFollower
from tests.market.live_journal import START_NS, LiveJournal, assert_same
from tests.market.memory_store import MemoryStore

LATER_S = 600.0


def held(store: MemoryStore) -> dict:
    return {(name, at): (*row[1:6], row[8]) for (name, _, at), row in store.rows.items()}


def follow(follower: JournalFollower | CandleKeeper) -> None:
    """Run passes until one of them is not cut off."""
    while True:
        try:
            follower.run()
            return
        except StorageError:
            continue


STEPS = st.lists(st.tuples(st.integers(1, 60), st.integers(-400, 100), st.integers(1, 5), st.booleans(), st.integers(0, 90)),
                 min_size=1, max_size=8)


@settings(max_examples=25)
@given(STEPS, st.integers(-1, 12))
def test_late_doubled_and_backfilled_trades_correct_the_minutes_they_touch(steps: list, refuses_at: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        live, store, first_id = LiveJournal(Path(folder)), MemoryStore(), 1
        follower = JournalFollower(live.folder, store, live.clock)
        store.refuses_at = refuses_at
        for rows, at_s, step_s, twice, wait_s in steps:
            batch = live.trades(rows, first_id, live.clock.now_ns() + at_s * 10**9, step_s * 10**9, seed=first_id)
            live.commit(batch)
            if twice:
                live.commit(batch.take(np.arange(0, rows, 2)))
            first_id += rows
            live.clock.advance(wait_s)
            follow(follower)
        live.clock.advance(LATER_S)
        follow(follower)
        assert_same(held(store), live.candles(live.clock.now_ns()))
        live.journal.close()


@settings(max_examples=10)
@given(STEPS, st.integers(-1, 40))
def test_all_intervals_add_up_whatever_comes_late_or_twice(steps: list, refuses_at: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        live, store, first_id = LiveJournal(Path(folder)), MemoryStore(), 1
        store.refuses_at = refuses_at
        keeper = CandleKeeper(live.folder, store, live.clock)
        for rows, at_s, step_s, twice, wait_s in steps:
            batch = live.trades(rows, first_id, live.clock.now_ns() + at_s * 50 * 10**9, step_s * 30 * 10**9, seed=first_id)
            live.commit(batch)
            if twice:
                live.commit(batch.take(np.arange(0, rows, 2)))
            first_id += rows
            live.clock.advance(wait_s * 60)
            follow(keeper)
        live.clock.advance(20_000)
        while store.marks().get(MARK, "").split()[1:] != [str((live.clock.now_ns() - 2 * 10**9) // MINUTE_NS)]:
            follow(keeper)
        for interval in INTERVALS_NS:
            found = {(name, at): (*row[1:6], row[8]) for (name, of, at), row in store.rows.items() if of == interval}
            assert_same(found, live.candles(live.clock.now_ns() // MINUTE_NS * MINUTE_NS, interval))
        live.journal.close()


def test_only_minutes_that_are_over_are_written(tmp_path: Path) -> None:
    live, store = LiveJournal(tmp_path), MemoryStore()
    follower = JournalFollower(tmp_path, store, live.clock)
    live.commit(live.trades(100, 1, START_NS, 10**9))
    live.clock.advance(60 + journal_follower.SETTLE_S - 0.1)
    assert follower.run().candles == 0
    live.clock.advance(0.1)
    assert follower.run().minutes == 1
    assert {at for _, _, at in store.rows} == {START_NS}


def test_a_clock_that_is_set_back_makes_nothing_again(tmp_path: Path) -> None:
    live, store = LiveJournal(tmp_path), MemoryStore()
    follower = JournalFollower(tmp_path, store, live.clock)
    live.commit(live.trades(100, 1, START_NS, 10**9))
    live.clock.advance(300)
    assert follower.run().candles
    live.clock.step(-3600)
    before = dict(store.rows)
    assert follower.run() == (0, 0, 0)
    assert store.rows == before


def test_a_late_trade_makes_its_candle_again_and_no_other(tmp_path: Path) -> None:
    live, store = LiveJournal(tmp_path), MemoryStore()
    changes: list[CandleColumns] = []

    def write(series, rows, marks) -> None:
        changes.append(rows)
        store.write(MINUTE, series, rows, marks)

    follower = JournalFollower(tmp_path, store, live.clock, write)
    live.commit(live.trades(600, 1, START_NS, 10**9))
    live.clock.advance(1200)
    follower.run()
    changes.clear()
    live.commit(live.trades(1, 601, START_NS + 61 * 10**9, 10**9))
    assert follower.run().again == 1
    assert [len(rows) for rows in changes] == [1]
    assert changes[0].timestamp.tolist() == [START_NS + MINUTE_NS]


def test_a_venues_candle_stays_until_it_is_to_be_replaced(tmp_path: Path) -> None:
    live, store = LiveJournal(tmp_path), MemoryStore()
    follower = JournalFollower(tmp_path, store, live.clock)
    live.commit(live.trades(100, 1, START_NS, 10**9))
    live.clock.advance(300)
    follower.run()
    name = live.catalogue.names([0])[0]
    theirs = store.read(name, MINUTE, START_NS, START_NS + MINUTE_NS)
    origin = np.full(1, CandleOrigin.VENUE, np.uint8)
    store.write(MINUTE, [name], CandleColumns(*theirs.columns()[:-1], origin))
    late = live.trades(40, 101, START_NS, 10**9)
    live.commit(late.take(late.instrument == 0))
    follower.run()
    assert store.read(name, MINUTE, START_NS, START_NS + 1).origin.tolist() == [CandleOrigin.VENUE]
    assert follower.make_again([(name, START_NS // MINUTE_NS)]) == 1
    assert store.read(name, MINUTE, START_NS, START_NS + 1).origin.tolist() == [CandleOrigin.TRADES]
    assert_same(held(store), live.candles(live.clock.now_ns()))


def test_another_journal_in_the_folder_is_read_from_its_beginning(tmp_path: Path) -> None:
    live, store = LiveJournal(tmp_path), MemoryStore()
    live.commit(live.trades(50, 1, START_NS, 10**9))
    live.clock.advance(300)
    store.remembered[MARK] = f"1000000 {START_NS // MINUTE_NS}"
    JournalFollower(tmp_path, store, live.clock).run()
    assert_same(held(store), live.candles(live.clock.now_ns()))


def test_without_a_journal_a_pass_does_nothing(tmp_path: Path) -> None:
    store = MemoryStore()
    live_clock = LiveJournal(tmp_path / "other").clock
    assert JournalFollower(tmp_path, store, live_clock).run() == (0, 0, 0)
    assert store.marks() == {}
