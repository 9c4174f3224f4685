"""A venue's recent trades are found by symbol, by id and by time, and the oldest are dropped."""

from __future__ import annotations

import numpy as np

from pumpwatch.clock import NS_PER_MS, NS_PER_S
from pumpwatch.model import Flag
from pumpwatch.sim.history import MINUTE_NS, TradeHistory, aggregate
from pumpwatch.sim.market import SimulatedMarket
from pumpwatch.sim.rows import VOID, Rows
from tests.sim.fakes import START_NS, TABLE, rows_of


def test_history_answers_by_id_and_time_and_drops_the_oldest() -> None:
    market = SimulatedMarket(TABLE, [1], first_id=1000, unit_ns=NS_PER_MS, flag_shares={})
    history = TradeHistory(TABLE, limit=10_000)
    for second in range(20):
        history.add(market.next_trades(1000, START_NS + second * NS_PER_S, START_NS + (second + 1) * NS_PER_S))
    newest = history.recent(0, 5)
    assert newest.trade_id.tolist() == list(range(market.next_id[0] - 5, market.next_id[0]))
    first = int(newest.trade_id[0]) - 700
    assert history.from_id(0, first, 1000).trade_id.tolist() == list(range(first, market.next_id[0]))
    assert history.from_id(0, first, 3).trade_id.tolist() == [first, first + 1, first + 2]
    part = history.between(0, START_NS + 15 * NS_PER_S, START_NS + 16 * NS_PER_S, 10_000)
    assert len(part) and START_NS + 15 * NS_PER_S <= part.timestamp.min() <= part.timestamp.max() <= START_NS + 16 * NS_PER_S
    assert history.from_id(0, 0, 1).trade_id[0] > 1000
    assert not len(history.between(0, 0, START_NS, 10))


def test_a_limit_of_0_keeps_nothing() -> None:
    history = TradeHistory(TABLE, 0)
    history.add(rows_of(1, 2))
    assert not len(history.recent(0, 5))


def test_neighbours_of_one_price_side_and_time_are_one_aggregate() -> None:
    rows = Rows(TABLE, np.zeros(5, np.int32), np.arange(5), np.array([1, 1, 1, 2, 2]), np.array([7, 7, 8, 8, 8]),
                np.array([1, 2, 3, 4, 5]), np.array([True, True, True, True, False]), np.zeros(5, np.uint8))
    assert aggregate(rows) == [(0, 1, 3), (2, 2, 3), (3, 3, 4), (4, 4, 5)]
    assert aggregate(Rows.empty(TABLE)) == []

def test_history_answers_with_the_last_rows_of_a_part() -> None:
    history = TradeHistory(TABLE, 1000)
    market = SimulatedMarket(TABLE, [1], first_id=1000, unit_ns=NS_PER_MS, flag_shares={})
    history.add(market.next_trades(500, START_NS, START_NS + NS_PER_S))
    rows = history.recent(0, 1000)
    first, last = int(rows.trade_id[10]), int(rows.trade_id[40])
    assert history.last_ids(0, first, last, 5).trade_id.tolist() == rows.trade_id[36:41].tolist()
    start_ns, end_ns = int(rows.timestamp[10]), int(rows.timestamp[40])
    found = history.last_between(0, start_ns, end_ns, 5)
    assert len(found) == 5
    assert found.trade_id.tolist() == history.between(0, start_ns, end_ns, 1000).trade_id[-5:].tolist()


def test_minutes_sum_up_what_was_traded_and_leave_out_rows_outside_the_market() -> None:
    minute = START_NS - START_NS % MINUTE_NS
    times = np.array([minute, minute + 1, minute + 2, minute + 3, minute + 2 * MINUTE_NS])
    history = TradeHistory(TABLE, 10)
    history.add(Rows(TABLE, np.zeros(5, np.int32), np.arange(5), times, np.array([7, 9, 0, 99, 8]), np.array([1, 2, 0, 50, 4]),
                     np.zeros(5, np.bool_), np.array([0, Flag.BLOCK, VOID, Flag.ADL, 0], np.uint8)))
    first, second = history.minutes(0, minute, minute + 3 * MINUTE_NS)
    assert (first.start_ns, first.open, first.high, first.low, first.close) == (minute, 7, 9, 7, 9)
    assert (first.quantity, first.trades) == (3, 2)
    assert (second.start_ns, second.close, second.quantity, second.trades) == (minute + 2 * MINUTE_NS, 8, 4, 1)
    assert history.minutes(0, minute + MINUTE_NS, minute + 2 * MINUTE_NS) == []
    assert history.minutes(0, minute + 1, minute + 2 * MINUTE_NS + 1) == [second]  # a minute counts whole, by its beginning


def test_questions_between_few_trades_leave_large_chunks_and_lose_none() -> None:
    history = TradeHistory(TABLE, 1_000_000)
    for number in range(300):
        history.add(rows_of(number))
        assert history.recent(0, 1).trade_id.tolist() == [number]
    assert history.from_id(0, 0, 1000).trade_id.tolist() == list(range(300)) and len(history._chunks) == 1
