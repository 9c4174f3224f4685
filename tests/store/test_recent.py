"""Memory of the last minutes: complete, small, and honest about where it begins."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from gevent.threadpool import ThreadPool
from hypothesis import given, settings
from hypothesis import strategies as st

from pumpwatch.clock import NS_PER_S
from pumpwatch.model import TradeBatch
from pumpwatch.store.recent import Recent, extract
from tests.trades import batch_of

START_NS = 1_790_000_000 * NS_PER_S


def fed(recent: Recent, trades: TradeBatch, step: int = 250, compact: bool = True) -> Recent:
    for k in range(0, len(trades), step):
        recent.add(trades.take(slice(k, k + step)))
        if compact and k % (step * 8) == 0:
            recent.compact()
    return recent


@pytest.mark.parametrize("compact", [False, True])
def test_a_query_gives_every_trade_of_the_instruments_and_time(compact: bool) -> None:
    trades = batch_of(50_000, instruments=40, start_ns=START_NS, step_ns=2_000_000)
    recent = fed(Recent(20, 10.0), trades, compact=compact)
    assert recent.rows == 50_000
    for ids, first_s, last_s in (([3], 20, 60), ([3, 17], 0, 100), ([39], 95, 200), ([40], 0, 100)):
        start, end = START_NS + first_s * NS_PER_S, START_NS + last_s * NS_PER_S
        wanted = np.isin(trades.instrument, ids) & (trades.timestamp >= start) & (trades.timestamp < end)
        found = recent.query(ids, start, end)
        assert found.trade_id.tolist() == trades.trade_id[wanted].tolist()
        assert found.price.tobytes() == trades.price[wanted].tobytes()


def test_what_is_held_at_a_moment_can_be_searched_later_in_a_thread() -> None:
    trades = batch_of(20_000, instruments=5, start_ns=START_NS, step_ns=20_000_000)
    recent = fed(Recent(2, 10.0), trades.take(slice(0, 6_000)))
    start = recent.covers_from_ns
    held = recent.held(start, 2**62)
    fed(recent, trades.take(slice(6_000, None)))  # the same buckets grow, are encoded, and leave
    assert recent.covers_from_ns > int(trades.timestamp[6_000])
    found = ThreadPool(1).apply(extract, (held, range(5), start, 2**62))
    wanted = trades.timestamp[:6_000] >= start
    assert found.trade_id.tolist() == trades.trade_id[:6_000][wanted].tolist() != []


def test_closed_buckets_are_held_in_a_fraction_of_their_size() -> None:
    trades = batch_of(200_000, instruments=300, start_ns=START_NS, step_ns=200_000)
    recent = fed(Recent(20, 1.0), trades, compact=False)
    loose = recent.nbytes
    recent.compact()
    assert recent.nbytes < loose / 2


def test_what_is_older_than_the_minutes_leaves_and_the_beginning_moves() -> None:
    trades = batch_of(30_000, instruments=5, start_ns=START_NS, step_ns=20_000_000)  # ten minutes
    recent = fed(Recent(2, 10.0), trades)
    assert 2 * 60 * 50 <= recent.rows <= 2 * 60 * 50 + 2 * 500
    start = recent.covers_from_ns
    assert start > START_NS
    kept = trades.timestamp >= start
    found = recent.query(range(5), start, 2**62)
    assert sorted(found.trade_id.tolist()) == trades.trade_id[kept].tolist()


def test_it_claims_nothing_from_before_its_first_trade_arrived() -> None:
    recent = Recent(20)
    assert recent.covers_from_ns > 2**62
    assert len(recent.query([1], 0, 2**62)) == 0
    recent.add(TradeBatch.empty())
    recent.add(batch_of(10, start_ns=START_NS))
    assert recent.covers_from_ns >= START_NS


def test_a_late_trade_is_found_by_its_own_time() -> None:
    recent = fed(Recent(20, 1.0), batch_of(5000, instruments=4, start_ns=START_NS, step_ns=1_000_000))
    late = replace(batch_of(1, first_id=10**6, instruments=1, start_ns=START_NS - 300 * NS_PER_S),
                   received_at=np.array([START_NS + 6 * NS_PER_S]))
    recent.add(late)
    recent.add(batch_of(10, start_ns=START_NS + 20 * NS_PER_S))
    recent.compact()
    assert recent.query([0], START_NS - 301 * NS_PER_S, START_NS - 299 * NS_PER_S).trade_id.tolist() == [10**6]


def test_memory_is_bounded_at_any_rate() -> None:
    recent = Recent(20, 10.0, max_bytes=2_000_000)
    for k in range(40):
        recent.add(batch_of(20_000, first_id=k * 20_000, start_ns=START_NS + k * NS_PER_S, step_ns=1000))
        recent.compact()
    assert recent.nbytes < 2_000_000 + 120_000 * 60
    assert recent.covers_from_ns > START_NS


def test_queries_are_right_while_a_thread_compacts() -> None:
    trades = batch_of(60_000, instruments=20, start_ns=START_NS, step_ns=1_000_000)
    recent = Recent(20, 1.0)
    pool = ThreadPool(1)
    jobs = []
    for k in range(0, 60_000, 1000):
        recent.add(trades.take(slice(k, k + 1000)))
        jobs.append(pool.spawn(recent.compact))
        found = recent.query([7], START_NS, 2**62)
        assert found.trade_id.tolist() == trades.trade_id[: k + 1000][trades.instrument[: k + 1000] == 7].tolist()
    for job in jobs:
        job.get(timeout=30)


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 5_000), st.booleans()), max_size=30))
def test_any_sequence_of_batches_and_compactions_keeps_every_trade_it_covers(
        steps: list[tuple[int, int, bool]]) -> None:
    recent = Recent(0.05, 0.5)
    now_ns, given_batches, first_id = START_NS, [], 1
    for count, wait_ms, compact in steps:
        now_ns += wait_ms * 1_000_000
        batch = batch_of(count, first_id=first_id, instruments=7, start_ns=now_ns, step_ns=1000)
        first_id += count
        recent.add(batch)
        given_batches.append(batch)
        if compact:
            recent.compact()
        every = TradeBatch.concat(given_batches)
        covered = every.trade_id[every.timestamp >= recent.covers_from_ns]
        assert set(covered.tolist()) <= set(recent.query(range(7), 0, 2**62).trade_id.tolist())
        assert recent.rows == len(recent.query(range(7), 0, 2**62))


def at(timestamp_ns: int, received_ns: int, first_id: int) -> TradeBatch:
    """One trade with its own time and that of its arrival."""
    return replace(batch_of(1, first_id=first_id, instruments=1, start_ns=timestamp_ns), received_at=np.array([received_ns]))


HOUR_NS, DAY_NS = 3600 * NS_PER_S, 86_400 * NS_PER_S


def test_a_trade_stamped_hours_ahead_moves_no_beginning_and_is_asked_for_elsewhere_once_it_is_gone() -> None:
    recent = Recent(1, 10.0)
    recent.add(at(START_NS + 3 * HOUR_NS, START_NS, 1))
    for second in range(1, 31):
        recent.add(at(START_NS + second * NS_PER_S, START_NS + second * NS_PER_S, 1 + second))
    assert recent.elsewhere(START_NS, START_NS + 9 * HOUR_NS) == []
    for second in range(31, 200):
        recent.add(at(START_NS + second * NS_PER_S, START_NS + second * NS_PER_S, 1 + second))
    assert START_NS + 100 * NS_PER_S < recent.covers_from_ns < START_NS + 140 * NS_PER_S
    ahead_ns = START_NS + 3 * HOUR_NS
    assert recent.elsewhere(START_NS, START_NS + 9 * HOUR_NS) == [(START_NS, recent.covers_from_ns), (ahead_ns, ahead_ns + 1)]
    assert recent.elsewhere(START_NS + 150 * NS_PER_S, START_NS + 200 * NS_PER_S) == []


@pytest.mark.parametrize("step_ns", [-2 * DAY_NS, 5 * DAY_NS])
def test_a_clock_that_steps_leaves_memory_in_use_and_claims_nothing_that_is_gone(step_ns: int) -> None:
    recent = Recent(1, 10.0)
    for second in range(400):
        now_ns = START_NS + second * NS_PER_S
        recent.add(at(now_ns, now_ns + (step_ns if second >= 100 else 0), second + 1))
    assert 60 <= recent.rows <= 90
    until_ns = START_NS + 400 * NS_PER_S
    assert recent.elsewhere(until_ns - 45 * NS_PER_S, until_ns) == []
    parts = recent.elsewhere(START_NS, until_ns)
    here = set(recent.query([0], START_NS, until_ns).trade_id.tolist())
    for second in range(400):
        asked = any(first <= START_NS + second * NS_PER_S < end for first, end in parts)
        assert asked or second + 1 in here


def test_what_an_earlier_run_stored_with_times_that_are_still_to_come_is_asked_for_elsewhere() -> None:
    recent = Recent(20)
    recent.set_earlier_end(START_NS + 2 * DAY_NS)
    recent.add(at(START_NS + 2 * DAY_NS + NS_PER_S, START_NS, 1))
    assert recent.elsewhere(START_NS - 1, START_NS + 3 * DAY_NS) == [
        (START_NS - 1, START_NS), (START_NS, START_NS + 2 * DAY_NS + 1)]
    usual = Recent(20)
    usual.set_earlier_end(START_NS - NS_PER_S)
    usual.add(at(START_NS, START_NS, 1))
    assert usual.elsewhere(START_NS, START_NS + DAY_NS) == []


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 20), st.sampled_from([0, 0, 0, 30, 90, 7200, 10**6, -10**4])), max_size=120))
def test_a_trade_with_any_timestamp_is_here_or_in_a_part_of_the_journal(
        steps: list[tuple[int, int]]) -> None:
    recent, now_ns, times = Recent(1, 5.0), START_NS, dict[int, int]()
    for number, (wait_s, ahead_s) in enumerate(steps, 1):
        now_ns += wait_s * NS_PER_S
        times[number] = now_ns + ahead_s * NS_PER_S
        recent.add(at(times[number], now_ns, number))
    parts = recent.elsewhere(0, 2**62)
    assert all(end <= first for (_, end), (first, _) in pairwise(parts))
    here = set(recent.query([0], 0, 2**62).trade_id.tolist())
    assert all(number in here or any(first <= ns < end for first, end in parts) for number, ns in times.items())


def test_a_lower_limit_drops_the_oldest_trades_at_once_and_memory_still_knows_what_it_covers() -> None:
    trades = batch_of(20_000, instruments=5, start_ns=START_NS, step_ns=20_000_000)
    recent = fed(Recent(20, 10.0), trades)
    whole = recent.nbytes
    recent.limit(whole // 3)
    assert 0 < recent.nbytes <= whole // 3 == recent.max_bytes
    start = recent.covers_from_ns
    found = recent.query(range(5), start, 2**62)
    assert len(found) == int((trades.timestamp >= start).sum()) > 0
    assert len(recent.query(range(5), 0, start)) < len(trades) / 10
