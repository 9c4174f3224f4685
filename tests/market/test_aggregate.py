"""Longer candles agree with pandas, are complete only when their parts are, and follow every change of a minute."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pumpwatch.errors import StorageError
from pumpwatch.market.aggregate import aggregate, continuity_flaws, write_minutes
from pumpwatch.market.candle_columns import CandleColumns, CandleOrigin
from pumpwatch.market.intervals import INTERVALS_NS, MINUTE_NS
from pumpwatch.market.sqlite_store import SqliteCandleStore
from tests.market.market_parts import minute
from tests.market.store_contract import ALL, START, A, B, candles, same

FIVE_NS = 5 * MINUTE_NS
FIRST_NS = 100 * FIVE_NS
LONGER = list(INTERVALS_NS)[1:]
FAR = 2**62


def drawn(minutes: list[int], place: int, seed: int) -> CandleColumns:
    """Return random candles of a series at these minutes."""
    rows, draw = candles(sorted(minutes), [place] * len(minutes)), np.random.default_rng(seed)
    for column in (rows.open, rows.close, rows.volume, rows.quote_volume, rows.taker_buy_volume):
        column[:] = draw.integers(1, 10**6, len(rows)) / 100
    rows.high[:] = np.maximum(rows.open, rows.close) + draw.integers(0, 50, len(rows)) / 100
    rows.low[:] = np.minimum(rows.open, rows.close) / 2
    rows.trades[:] = draw.integers(1, 1000, len(rows))
    return rows


def by_pandas(rows: CandleColumns, interval: str) -> pd.DataFrame:
    """Return the same by pandas' own resample."""
    frame = pd.DataFrame({name: getattr(rows, name) for name in (
        "open", "high", "low", "close", "volume", "quote_volume", "taker_buy_volume", "trades")},
        index=pd.to_datetime(rows.timestamp, unit="ns"))
    rule = interval.replace("m", "min").replace("d", "D")
    return frame.resample(rule, origin="epoch").agg({
        "open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum", "quote_volume": "sum",
        "taker_buy_volume": "sum", "trades": "sum"}).dropna(subset=["open"])


def assert_like_pandas(found: CandleColumns, minutes: CandleColumns, interval: str) -> None:
    expected = by_pandas(minutes, interval)
    assert found.timestamp.tolist() == expected.index.as_unit("ns").astype("int64").tolist()
    for name in ("open", "high", "low", "close", "trades"):
        assert getattr(found, name).tolist() == expected[name].tolist(), name
    for name in ("volume", "quote_volume", "taker_buy_volume"):
        np.testing.assert_allclose(getattr(found, name), expected[name], rtol=1e-12)


MINUTES = st.lists(st.integers(0, 4000), min_size=1, max_size=60, unique=True)


@settings(max_examples=40, deadline=None)
@given(MINUTES, MINUTES, st.integers(0, 1000), st.sampled_from(LONGER))
def test_every_interval_agrees_with_pandas(one: list[int], other: list[int], seed: int, interval: str) -> None:
    parts = [drawn(one, 0, seed), drawn(other, 1, seed + 1)]
    found = aggregate(CandleColumns.concat(parts), interval, FAR)
    for place, part in enumerate(parts):
        assert_like_pandas(found.take(found.series == place), part, interval)


def test_nothing_makes_nothing() -> None:
    assert len(aggregate(CandleColumns.empty(), "1h", FAR)) == 0


def test_a_sum_with_an_unknown_part_is_unknown() -> None:
    rows = candles([0, 1, 5])
    rows.quote_volume[1], rows.taker_buy_volume[2], rows.trades[0] = np.nan, np.nan, -1
    found = aggregate(rows, "5m", FAR)
    assert np.isnan(found.quote_volume).tolist() == [True, False]
    assert np.isnan(found.taker_buy_volume).tolist() == [False, True]
    assert found.trades.tolist() == [-1, 7]


def test_a_candle_of_both_origins_is_mixed() -> None:
    rows = candles([0, 1, 5, 10])
    rows.origin[:] = [CandleOrigin.TRADES, CandleOrigin.VENUE, CandleOrigin.VENUE, CandleOrigin.TRADES]
    assert aggregate(rows, "5m", FAR).origin.tolist() == [CandleOrigin.MIXED, CandleOrigin.VENUE, CandleOrigin.TRADES]


def test_a_candle_is_complete_once_it_is_over_if_its_parts_are() -> None:
    rows = candles([0, 5, 6, 10, 15])
    rows.complete[2] = False
    found = aggregate(rows, "5m", START + 15 * MINUTE_NS, lost=[(0, START + 3 * MINUTE_NS, START + 4 * MINUTE_NS), (1, 0, FAR)])
    assert found.complete.tolist() == [False, False, True, False]


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(MINUTES, st.integers(0, 99), st.sampled_from([A, B])), min_size=1, max_size=4), st.data())
def test_the_store_follows_every_change(tmp_path_factory: pytest.TempPathFactory, writes: list[tuple[list[int], int, str]],
                                        data: st.DataObject) -> None:
    store = SqliteCandleStore(tmp_path_factory.mktemp("store"))
    for minutes, seed, series in writes:
        gone = data.draw(st.lists(st.sampled_from(minutes), max_size=5, unique=True))
        write_minutes(store, [series], drawn(minutes, 0, seed), FAR, marks={"seed": str(seed)})
        write_minutes(store, [], CandleColumns.empty(), FAR, removed=[(series, START + minute * MINUTE_NS) for minute in gone])
    assert store.marks() == {"seed": str(writes[-1][1])}
    for series in store.series():
        minutes_now = store.read(series, "1m", *ALL)
        for interval in LONGER:
            found = store.read(series, interval, *ALL)
            if len(minutes_now):
                assert_like_pandas(found, minutes_now, interval)
            assert len(minutes_now) or not len(found)
    store.close()


def test_candles_become_complete_when_they_end_without_another_trade(tmp_path: Path) -> None:
    store = SqliteCandleStore(tmp_path)
    write_minutes(store, [A], candles([0, 1]), START + 2 * MINUTE_NS)
    assert store.read(A, "5m", *ALL).complete.tolist() == [False]
    write_minutes(store, [B], candles([6]), START + 7 * MINUTE_NS, was_over_ns=START + 2 * MINUTE_NS)
    assert store.read(A, "5m", *ALL).complete.tolist() == [True]
    assert store.read(A, "15m", *ALL).complete.tolist() == [False]
    write_minutes(store, [], CandleColumns.empty(), START + 1440 * MINUTE_NS, was_over_ns=START + 7 * MINUTE_NS)
    assert [store.read(series, "1d", *ALL).complete.tolist() for series in (A, B)] == [[True], [True]]
    store.close()


def test_longer_candles_of_removed_minutes_stay_as_they_are(tmp_path: Path) -> None:
    store = SqliteCandleStore(tmp_path)
    write_minutes(store, [A], candles(list(range(10))), FAR)
    before = store.read(A, "5m", *ALL)
    store.remove_before("1m", START + 5 * MINUTE_NS)
    write_minutes(store, [A], candles([2]), FAR, kept_from_ns={"1m": START + 5 * MINUTE_NS})
    assert same(store.read(A, "5m", *ALL), before)
    store.close()


class HalfWritten(SqliteCandleStore):
    """Fails when candles of a day are written."""

    def write(self, interval: str, *arguments: object, **named: object) -> None:
        if interval == "1d":
            raise StorageError("the disk is gone")
        super().write(interval, *arguments, **named)  # type: ignore[arg-type]


def test_minutes_their_longer_candles_and_marks_are_stored_together_or_not_at_all(tmp_path: Path) -> None:
    store = HalfWritten(tmp_path)
    with pytest.raises(StorageError):
        write_minutes(store, [A], candles([0]), FAR, marks={"journal": "1"})
    assert [interval for interval in INTERVALS_NS if len(store.read(A, interval, *ALL))] == []
    assert store.series() == []
    assert store.marks() == {}
    SqliteCandleStore.write(store, "1m", [A], candles([1]))  # the series gets an id again
    assert len(store.read(A, "1m", *ALL)) == 1
    store.close()


def test_longer_candles_that_disagree_with_their_parts_are_named(tmp_path: Path) -> None:
    store, day = SqliteCandleStore(tmp_path), (START, START + 1440 * MINUTE_NS)
    minutes = candles(list(range(0, 1400, 3)))
    minutes.quote_volume[7] = np.nan
    write_minutes(store, [A], minutes, FAR)
    assert continuity_flaws(store, *day) == []
    store.write("5m", [A], CandleColumns.empty(), removed=[(A, START + 5 * MINUTE_NS)])
    wrong = store.read(A, "4h", *ALL).take(slice(1, 2))
    wrong.volume[0] += 1
    store.write("4h", [A], wrong)
    assert [(flaw.kind, flaw.interval, (flaw.timestamp_ns - START) // MINUTE_NS) for flaw in continuity_flaws(store, *day)] == [
        ("continuity", "5m", 5), ("continuity", "15m", 0), ("continuity", "4h", 240), ("continuity", "1d", 0)]
    store.close()


def test_minutes_that_are_no_longer_kept_are_no_flaw(tmp_path: Path) -> None:
    store, day = SqliteCandleStore(tmp_path), (START, START + 1440 * MINUTE_NS)
    write_minutes(store, [A], candles(list(range(10))), FAR)
    store.remove_before("1m", START + 5 * MINUTE_NS)
    assert continuity_flaws(store, *day) == []
    store.close()


def test_five_minutes_have_the_first_price_the_extremes_and_the_sums() -> None:
    rows = CandleColumns.concat([minute(FIRST_NS, 10.0), minute(FIRST_NS + 2 * MINUTE_NS, 12.0), minute(FIRST_NS + FIVE_NS, 5.0)])
    found = aggregate(rows, "5m", FIRST_NS + 2 * FIVE_NS)
    assert (found.timestamp // FIVE_NS).tolist() == [100, 101]
    assert [column[0] for column in (found.open, found.high, found.low, found.close)] == [10.0, 13.0, 9.0, 12.5]
    assert (found.volume[0], found.quote_volume[0], found.taker_buy_volume[0], found.trades[0]) == (6.0, 66.0, 2.0, 4)
    assert found.complete.tolist() == [True, True]


def test_the_interval_that_runs_is_not_complete_nor_one_with_a_minute_that_is_not() -> None:
    assert not aggregate(minute(FIRST_NS, 1.0), "5m", FIRST_NS + FIVE_NS - 1).complete[0]
    parts = CandleColumns.concat([minute(FIRST_NS, 1.0), minute(FIRST_NS + MINUTE_NS, 1.0, complete=False)])
    assert not aggregate(parts, "5m", FIRST_NS + FIVE_NS).complete[0]


def test_a_figure_that_one_part_lacks_is_not_known() -> None:
    other = minute(FIRST_NS + MINUTE_NS, 1.0, trades=-1)
    other.quote_volume[:] = np.nan
    other.origin[:] = CandleOrigin.VENUE
    found = aggregate(CandleColumns.concat([minute(FIRST_NS, 1.0), other]), "5m", FIRST_NS + FIVE_NS)
    assert found.trades[0] == -1 and np.isnan(found.quote_volume[0]) and found.origin[0] == CandleOrigin.MIXED
