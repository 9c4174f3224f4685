"""The contract of a store of candles. A test class of a store derives from StoreContract and has a fixture `make`.

`make()` opens the store of the test: after `close` the same one is opened again, with all that was in it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

import numpy as np
import pytest

from pumpwatch.errors import UsageError
from pumpwatch.market.candle_columns import CandleColumns, CandleOrigin, Series
from pumpwatch.market.interfaces import CandleStore, Coverage
from pumpwatch.market.intervals import MINUTE_NS

START = 1_795_046_400 * 10**9  # a midnight
ALL = (-(2**63), 2**63 - 1)
A: Series = ("binance", "spot", "AUSDT")
B: Series = ("okx", "futures", "B-USDT-SWAP")
Make = Callable[[], CandleStore]


def candles(minutes: list[int], places: list[int] | None = None, price: float = 10.0, *, step: int = MINUTE_NS) -> CandleColumns:
    """Return a candle for each minute (of `step`) after START; prices rise with the time."""
    count = len(minutes)
    first = price + np.array(minutes, np.float64).reshape(count) / 100
    return CandleColumns(
        np.array(places if places is not None else [0] * count, np.int32), START + np.array(minutes, np.int64) * step,
        first, first + 0.03, first - 0.02, first + 0.01, np.full(count, 0.1 + 0.2), np.full(count, 3.0), np.full(count, 0.1),
        np.full(count, 7, np.int64), np.ones(count, np.bool_), np.full(count, int(CandleOrigin.TRADES), np.uint8))


def same(one: CandleColumns, other: CandleColumns) -> bool:
    """Return whether all figures are the same; nan is nan."""
    return len(one) == len(other) and all(
        np.array_equal(getattr(one, field.name), getattr(other, field.name), equal_nan=field.name in FLOATS)
        for field in fields(one))


FLOATS = ("open", "high", "low", "close", "volume", "quote_volume", "taker_buy_volume")


class StoreContract:
    """The tests that every store of candles passes."""

    def test_candles_come_back_as_they_were_written(self, make: Make) -> None:
        store = make()
        rows = candles([0, 1, 5, 700])
        store.write("1m", [A], rows)
        assert same(store.read(A, "1m", *ALL), rows)
        store.close()
        again = make()
        assert same(again.read(A, "1m", *ALL), rows)
        assert again.series() == [A]
        again.close()

    def test_figures_that_are_not_known_stay_unknown(self, make: Make) -> None:
        store = make()
        rows = candles([0, 1])
        rows.quote_volume[:], rows.taker_buy_volume[:], rows.trades[:] = np.nan, np.nan, -1
        rows.complete[:], rows.origin[:] = False, int(CandleOrigin.VENUE)
        store.write("1m", [A], rows)
        assert same(store.read(A, "1m", *ALL), rows)
        store.close()

    def test_a_range_begins_with_its_start_and_ends_before_its_end(self, make: Make) -> None:
        store = make()
        store.write("1m", [A], candles(list(range(1000))))
        for first, last in ((0, 1000), (479, 481), (480, 481), (3, 3), (7, 2), (990, 5000), (-50, 1)):
            found = store.read(A, "1m", START + first * MINUTE_NS, START + last * MINUTE_NS)
            assert same(found, candles(list(range(max(first, 0), min(last, 1000)))))
        inside = store.read(A, "1m", START + 1, START + MINUTE_NS + 1)
        assert same(inside, candles([1]))
        store.close()

    def test_the_limit_takes_the_last_candles(self, make: Make) -> None:
        store = make()
        store.write("1m", [A], candles(list(range(1500))))
        store.write("1m", [A], candles([1700]))
        for limit in (0, 1, 2, 21, 500, 1501, 10**12):
            expected = candles([*range(1500), 1700]).take(slice(max(1501 - limit, 0), None))
            assert same(store.read(A, "1m", *ALL, limit=limit), expected)
        early = store.read(A, "1m", START, START + 100 * MINUTE_NS, limit=3)
        assert same(early, candles([97, 98, 99]))
        store.close()

    def test_a_later_candle_replaces_one_of_the_same_time(self, make: Make) -> None:
        store = make()
        store.write("1m", [A], candles(list(range(1000))))
        store.write("1m", [A], candles([3, 999], price=20.0))
        found = store.read(A, "1m", *ALL)
        assert len(found) == 1000
        assert same(found.take(np.array([3, 999])), candles([3, 999], price=20.0))
        assert same(found.take(np.array([2, 998])), candles([2, 998]))
        store.close()

    def test_of_two_candles_of_one_time_in_one_write_the_last_counts(self, make: Make) -> None:
        store = make()
        store.write("1m", [A], CandleColumns.concat([candles([4]), candles([4], price=30.0)]))
        assert same(store.read(A, "1m", *ALL), candles([4], price=30.0))
        store.close()

    def test_candles_that_are_no_longer_any_are_removed(self, make: Make) -> None:
        store = make()
        store.write("1m", [A, B], CandleColumns.concat([candles(list(range(1000))), candles([5], [1])]))
        gone = [(A, START + 5 * MINUTE_NS), (A, START + 998 * MINUTE_NS), (("okx", "spot", "NEVER"), START)]
        store.write("1m", [A], candles([2], price=20.0), removed=gone)
        kept = [number for number in range(1000) if number not in (2, 5, 998)]
        found = store.read(A, "1m", *ALL)
        assert same(found.take(found.timestamp != START + 2 * MINUTE_NS), candles(kept))
        assert len(store.read(B, "1m", *ALL)) == 1
        store.close()

    def test_series_and_intervals_do_not_mix(self, make: Make) -> None:
        store = make()
        store.write("1m", [B, A], candles([0, 1, 0], [0, 0, 1]))
        store.write("1h", [A], candles([0, 1], step=60 * MINUTE_NS))
        assert same(store.read(A, "1m", *ALL), candles([0]))
        assert same(store.read(B, "1m", *ALL), candles([0, 1]))
        assert same(store.read(A, "1h", *ALL), candles([0, 1], step=60 * MINUTE_NS))
        assert len(store.read(B, "1h", *ALL)) == 0
        assert sorted(store.series()) == [A, B]
        store.close()

    def test_several_series_are_read_at_once(self, make: Make) -> None:
        store = make()
        store.write("1m", [A, B], candles([1, 0, 2, 3], [0, 1, 1, 0]))
        unknown = ("okx", "spot", "NEVER")
        found = store.read_many([B, unknown, A], "1m", START + MINUTE_NS, START + 4 * MINUTE_NS)
        assert same(found, candles([2, 1, 3], [0, 2, 2]))
        assert len(store.read_many([], "1m", *ALL)) == 0
        store.close()

    def test_marks_are_remembered_and_replaced(self, make: Make) -> None:
        store = make()
        store.write("1m", [], CandleColumns.empty(), {"journal": "17", "other": ""})
        store.write("1m", [A], candles([0]), {"journal": "18"})
        store.close()
        again = make()
        assert again.marks() == {"journal": "18", "other": ""}
        again.close()

    def test_a_write_that_fails_stores_nothing(self, make: Make) -> None:
        store = make()
        store.write("1m", [A], candles([0]), {"journal": "1"})
        wrong = candles([1])
        wrong.timestamp[0] += 1
        with pytest.raises(ValueError, match="start of its interval"):
            store.write("1m", [A, B], wrong, {"journal": "2"})
        with pytest.raises(IndexError):
            store.write("1m", [A, B], candles([1], [7]), {"journal": "2"})
        assert store.marks() == {"journal": "1"}
        assert same(store.read(A, "1m", *ALL), candles([0]))
        store.write("1m", [B], candles([1]))
        assert same(store.read(B, "1m", *ALL), candles([1]))
        store.close()

    def test_the_coverage_of_each_series_is_told(self, make: Make) -> None:
        store = make()
        assert store.coverage("1m") == {}
        store.write("1m", [A, B], CandleColumns.concat([candles(list(range(1000))), candles([5], [1])]))
        assert store.coverage("1m") == {A: Coverage(START, START + 999 * MINUTE_NS, 1000),
                                        B: Coverage(START + 5 * MINUTE_NS, START + 5 * MINUTE_NS, 1)}
        assert store.coverage("1h") == {}
        store.close()

    def test_old_candles_are_removed(self, make: Make) -> None:
        store = make()
        store.write("1m", [A, B], CandleColumns.concat([candles(list(range(1000))), candles([0, 999], [1, 1])]))
        store.write("1h", [A], candles([0], step=60 * MINUTE_NS))
        assert store.remove_before("1m", START + 600 * MINUTE_NS) == 601
        assert same(store.read(A, "1m", *ALL), candles(list(range(600, 1000))))
        assert store.coverage("1m")[B].candles == 1
        assert store.remove_before("1m", START + 600 * MINUTE_NS) == 0
        assert len(store.read(A, "1h", *ALL)) == 1
        store.close()

    def test_an_unknown_interval_is_refused(self, make: Make) -> None:
        store = make()
        with pytest.raises(UsageError, match="choose one of 1m"):
            store.read(A, "7m", *ALL)
        with pytest.raises(UsageError):
            store.write("7m", [A], candles([0]))
        store.close()

    def test_sound_candles_have_no_flaw_and_prices_out_of_order_are_one(self, make: Make) -> None:
        store = make()
        store.write("1m", [A], candles(list(range(1000))))
        assert store.check() == []
        wrong = candles([700, 999])
        wrong.high[:] = wrong.low - 1
        store.write("1m", [A], wrong)
        assert [(flaw.kind, flaw.series, flaw.interval, flaw.timestamp_ns) for flaw in store.check()] == [
            ("ohlc", A, "1m", START + minute * MINUTE_NS) for minute in (700, 999)]
        store.close()
