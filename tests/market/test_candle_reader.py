"""Candles come from the store, and from trades where it does not have them yet."""

from __future__ import annotations

import pytest

from pumpwatch.clock import FakeClock
from pumpwatch.errors import StorageError, UsageError
from pumpwatch.market.candle_columns import CandleColumns
from pumpwatch.market.candle_reader import MOST_BUILT_NS, MOST_CANDLES, CandleReader
from pumpwatch.market.intervals import MINUTE_NS
from pumpwatch.market.journal_follower import BEGINS, MARK
from pumpwatch.market.minute_verdicts import MinuteEvidence
from pumpwatch.store.coverage import Watched
from tests.market.market_parts import C0, KeptTrades, asker, minute, refused, trades_at
from tests.market.memory_store import MemoryStore

CLOCK = FakeClock()
NOW = CLOCK.now_ns()
M0 = NOW // MINUTE_NS * MINUTE_NS - 10 * MINUTE_NS


def watched(start_ns: int, end_ns: int) -> MinuteEvidence:
    return MinuteEvidence({}, {}, {C0[:2]: [Watched(*C0[:2], 0, frozenset({C0[2]}))]})


class BrokenStore(MemoryStore):
    def read(self, *_: object, **__: object) -> CandleColumns:
        raise StorageError("the file is locked")


def store_of(*minutes: CandleColumns) -> MemoryStore:
    store = MemoryStore()
    store.write("1m", [C0], CandleColumns.concat(minutes))
    return store


def test_stored_minutes_are_followed_by_those_of_trades_up_to_the_running_one() -> None:
    trades = KeptTrades(trades_at((M0 + 5, 9.0, 1.0), (M0 + MINUTE_NS, 11.0, 2.0), (NOW - 1, 12.0, 1.0)))
    found = CandleReader(trades, store_of(minute(M0, 10.0)), CLOCK).read([0], "1m", M0, NOW)
    assert (((found.rows.timestamp - M0) // MINUTE_NS).tolist(), found.rows.close.tolist()) == ([0, 1, 10], [10.5, 11.0, 12.0])
    assert found.rows.complete.tolist() == [True, False, False] and found.series == [C0] and found.problems == []
    assert trades.asked[0][0] == M0 + MINUTE_NS, "a minute that is stored is not read from the trades"


def test_without_a_store_all_candles_come_from_trades_and_each_series_is_numbered() -> None:
    trades = KeptTrades(trades_at((M0, 9.0, 1.0), (M0 + MINUTE_NS, 11.0, 2.0)))
    found = CandleReader(trades, None, CLOCK).read([1, 0], "1m", M0, NOW)
    assert found.rows.series.tolist() == [1, 1] and found.series[1] == C0


def test_a_longer_interval_ends_with_the_one_that_runs() -> None:
    store = store_of(minute(M0, 10.0))
    trades = KeptTrades(trades_at((M0 + MINUTE_NS, 20.0, 2.0)))
    found = CandleReader(trades, store, CLOCK).read([0], "1d", M0, NOW)
    assert len(found.rows) == 1 and (found.rows.open[0], found.rows.close[0], found.rows.volume[0]) == (10.0, 20.0, 5.0)
    assert not found.rows.complete[0]


def test_the_last_candles_of_each_series() -> None:
    trades = KeptTrades(trades_at(*((M0 + at * MINUTE_NS, 9.0, 1.0) for at in range(5))))
    found = CandleReader(trades, None, CLOCK).read([0], "1m", M0, NOW, 2)
    assert ((found.rows.timestamp - M0) // MINUTE_NS).tolist() == [3, 4]


def test_ten_years_of_minutes_and_an_end_before_the_start_are_refused() -> None:
    reader = CandleReader(KeptTrades(), None, CLOCK)
    with pytest.raises(UsageError, match=r"up to 5,256,000 candles of 1m .* the interval 15m"):
        reader.read([0], "1m", NOW - 3650 * 86_400 * 10**9, NOW)
    with pytest.raises(UsageError, match="from is after to"):
        reader.read([0], "1m", NOW, NOW - 1)
    with pytest.raises(UsageError, match="not an interval"):
        reader.read([0], "7m", NOW, NOW)
    assert len(reader.read([0], "1m", NOW - MOST_CANDLES * MINUTE_NS, NOW).rows) == 0


def test_a_store_that_cannot_be_read_is_told_and_trades_answer() -> None:
    trades = KeptTrades(trades_at((M0, 9.0, 1.0)))
    trades.unreadable = ["segment 3: damaged"]
    found = CandleReader(trades, BrokenStore(), CLOCK).read([0], "1m", M0, NOW)
    assert len(found.rows) == 1 and found.problems == ["the file is locked", "segment 3: damaged"]


def test_minutes_before_the_first_known_one_are_asked_for_where_that_is_wanted() -> None:
    trades = KeptTrades(trades_at((M0 + MINUTE_NS, 9.0, 1.0)))
    row = [M0 // 10**6, "1", "2", "0.5", "1.5", "3", 0, "4.5", 7]

    def klines(request: object) -> bytes:
        import json
        return json.dumps([row]).encode()

    reader = CandleReader(trades, None, CLOCK, asker(klines, CLOCK))
    assert reader.read([0], "1m", M0, NOW, ask=True).rows.close.tolist() == [1.5, 9.0]
    assert len(reader.read([0], "1m", M0, NOW).rows) == 1
    refusing = CandleReader(trades, None, CLOCK, asker(refused, CLOCK)).read([0], "1m", M0, NOW, ask=True)
    assert len(refusing.rows) == 1 and "HTTP 503" in refusing.problems[0]


def test_a_later_minute_of_a_venue_does_not_hide_trades_that_the_store_lacks() -> None:
    store = store_of(minute(M0, 10.0), minute(M0 + 5 * MINUTE_NS, 20.0))  # the second one was fetched for a gap
    store.write("1m", [C0], CandleColumns.empty(), {BEGINS: "0", MARK: f"7 {M0 // MINUTE_NS + 1}"})  # candles are behind
    trades = KeptTrades(trades_at(*((M0 + at * MINUTE_NS, 9.0, 1.0) for at in range(7))))
    found = CandleReader(trades, store, CLOCK).read([0], "1m", M0, NOW).rows
    assert ((found.timestamp - M0) // MINUTE_NS).tolist() == list(range(7))
    assert found.close.tolist() == [10.5, 9.0, 9.0, 9.0, 9.0, 20.5, 9.0]


def test_minutes_of_a_store_that_cannot_be_read_come_from_trades_and_are_not_known_without() -> None:
    store = BrokenStore()
    store.write("1m", [C0], CandleColumns.empty(), {BEGINS: "0", MARK: f"7 {NOW // MINUTE_NS}"})
    trades = KeptTrades(trades_at((M0 + MINUTE_NS, 9.0, 1.0)))
    found = CandleReader(trades, store, CLOCK, records=watched).read([0], "1m", M0, NOW)
    assert found.rows.close.tolist() == [9.0] and found.not_covered == [(C0, M0, M0 + MINUTE_NS)]


def test_a_candle_is_not_complete_where_a_file_of_trades_could_not_be_read() -> None:
    trades = KeptTrades(trades_at((M0, 9.0, 1.0)))
    reader = CandleReader(trades, None, CLOCK, records=watched)
    assert reader.read([0], "1m", M0, NOW).rows.complete.tolist() == [True]
    trades.unreadable = ["segment 3: locked"]
    found = reader.read([0], "1m", M0, NOW)
    assert (found.rows.complete.tolist(), found.problems) == ([False], ["segment 3: locked"])


def test_minutes_that_are_not_made_because_they_are_too_many_are_named() -> None:
    old = NOW // MINUTE_NS * MINUTE_NS - MOST_BUILT_NS - 60 * MINUTE_NS
    trades = KeptTrades(trades_at((old, 9.0, 1.0), (M0, 9.0, 1.0)))
    found = CandleReader(trades, None, CLOCK, records=watched).read([0], "1m", old, NOW)
    assert len(found.rows) == 1
    assert [(first, end - old) for _, first, end in found.not_covered] == [(old, 61 * MINUTE_NS)]
