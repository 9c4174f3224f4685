"""The SQLite store of candles keeps the contract, packs old candles into blocks, and never shows half of a write."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pumpwatch.market.candle_columns import CandleColumns, CandleOrigin
from pumpwatch.market.intervals import MINUTE_NS
from pumpwatch.market.sqlite_store import SqliteCandleStore
from tests.market.store_contract import ALL, START, A, B, StoreContract, candles, same


@pytest.fixture
def make(tmp_path: Path) -> Callable[[], SqliteCandleStore]:
    return lambda: SqliteCandleStore(tmp_path)


class TestSqliteStore(StoreContract):
    """The store as it is written."""


class PackingStore(SqliteCandleStore):
    """Packs everything after each write, so that every later one meets blocks."""

    def write(self, interval: str, *arguments: Any, **named: Any) -> None:
        super().write(interval, *arguments, **named)
        self.pack(interval, 2**62)


class TestPackedStore(StoreContract):
    """The store with every candle in a block."""

    @pytest.fixture
    def make(self, tmp_path: Path) -> Callable[[], SqliteCandleStore]:
        return lambda: PackingStore(tmp_path)


NUMBERS = st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.decimals(0, 10**6, places=3).map(float))
WRITES = st.lists(st.tuples(st.sampled_from([A, B]), st.dictionaries(st.integers(0, 1500), NUMBERS, max_size=6),
                            st.lists(st.integers(0, 1500), max_size=3), st.booleans()), max_size=8)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(writes=WRITES)
def test_the_store_agrees_with_a_dictionary(tmp_path_factory: pytest.TempPathFactory, writes: list[Any]) -> None:
    store = SqliteCandleStore(tmp_path_factory.mktemp("store"))
    model: dict[Any, dict[int, float]] = {A: {}, B: {}}
    for series, values, gone, packs in writes:
        rows = candles(list(values))
        for column in (rows.open, rows.high, rows.low, rows.close, rows.volume):
            column[:] = list(values.values())
        store.write("1m", [series], rows, removed=[(series, START + minute * MINUTE_NS) for minute in gone])
        for minute in gone:
            model[series].pop(minute, None)
        model[series] |= values
        if packs:
            store.pack("1m", START + 960 * MINUTE_NS)
    for series, expected in model.items():
        found = store.read(series, "1m", *ALL)
        assert dict(zip(((found.timestamp - START) // MINUTE_NS).tolist(), found.volume.tolist(), strict=True)) == expected
        assert found.timestamp.tolist() == sorted(found.timestamp.tolist())
        assert found.open.tolist() == found.close.tolist() == found.volume.tolist()
    assert [flaw.kind for flaw in store.check() if flaw.kind != "ohlc"] == []
    store.close()


def test_candles_of_a_time_that_is_over_become_blocks(tmp_path: Path) -> None:
    store = SqliteCandleStore(tmp_path)
    for minute in range(0, 1000, 50):
        store.write("1m", [A], candles(list(range(minute, minute + 50))))
    assert store.pack("1m", START + 961 * MINUTE_NS) == 2
    assert store.file.rows("SELECT candles FROM blocks ORDER BY start") == [(480,), (480,)]
    assert store.file.rows("SELECT count(*) FROM candles") == [(40,)]
    assert same(store.read(A, "1m", *ALL), candles(list(range(1000))))
    assert store.pack("1m", START + 961 * MINUTE_NS) == 0
    store.close()


def test_a_history_of_a_time_that_is_over_is_written_as_blocks(tmp_path: Path) -> None:
    store = SqliteCandleStore(tmp_path)
    store.write("1m", [A], candles([17]))
    store.write("1m", [A], candles([number for number in range(1000) if number != 17]))
    assert store.file.rows("SELECT count(*) FROM candles") == [(40,)]
    assert same(store.read(A, "1m", *ALL), candles(list(range(1000))))
    store.close()


def test_a_history_that_ends_with_a_block_leaves_no_row(tmp_path: Path) -> None:
    store = SqliteCandleStore(tmp_path)
    store.write("1m", [A], candles(list(range(960))))
    assert store.file.rows("SELECT count(*) FROM candles") == [(0,)]
    store.close()


def test_a_reader_sees_whole_writes_and_never_makes_the_writer_wait(tmp_path: Path) -> None:
    writer = SqliteCandleStore(tmp_path, busy_ms=0)
    writer.write("1m", [A], candles([0]), {"journal": "1"})
    reader = SqliteCandleStore(tmp_path, read_only=True)
    with reader.file.reading("read"):
        assert reader.file.rows("SELECT count(*) FROM candles") == [(1,)]
        writer.write("1m", [A], candles(list(range(1000))), {"journal": "2"})
        writer.pack("1m", 2**62)
        assert reader.file.rows("SELECT count(*) FROM candles") == [(1,)]
    assert same(reader.read(A, "1m", *ALL), candles(list(range(1000))))
    assert reader.marks() == {"journal": "2"}
    reader.close()
    writer.close()


def test_origins_and_unknown_figures_survive_packing(tmp_path: Path) -> None:
    store = SqliteCandleStore(tmp_path)
    rows = candles(list(range(300)))
    rows.origin[::2], rows.complete[::3], rows.trades[5] = int(CandleOrigin.VENUE), False, -1
    rows.quote_volume[7] = np.nan
    store.write("1m", [A], rows)
    store.pack("1m", 2**62)
    assert same(store.read(A, "1m", *ALL), rows)
    assert isinstance(store.read(A, "1m", *ALL), CandleColumns)
    store.close()


def test_an_open_reader_sees_a_block_that_was_written_again(tmp_path: Path) -> None:
    writer = SqliteCandleStore(tmp_path)
    writer.write("1m", [A], candles(list(range(1500))))
    writer.pack("1m", START + 1500 * MINUTE_NS)
    reader = SqliteCandleStore(tmp_path, read_only=True)
    for price in (7.0, 8.0, 7.0):
        changed = candles([10])
        for column in (changed.open, changed.high, changed.low, changed.close):
            column[:] = price
        writer.write("1m", [A], changed)
        first = reader.read(A, "1m", *ALL)
        assert (first.close[10], len(first)) == (price, 1500)
        first.close[:] = 0  # belongs to who asked
        assert reader.read(A, "1m", *ALL).close[10] == price
    reader.close()
    writer.close()


def test_blocks_that_were_read_together_are_those_of_one_series_afterwards(tmp_path: Path) -> None:
    store = SqliteCandleStore(tmp_path)
    store.write("1m", [A, B], candles([*range(480), *range(480), 481], [0] * 480 + [1] * 481))
    many = store.read_many([("okx", "spot", "NEVER"), A, B], "1m", *ALL)
    assert many.series.tolist() == [1] * 480 + [2] * 481
    assert same(many.take(many.series == 2), candles([*range(480), 481], [2] * 481))
    assert same(store.read(A, "1m", *ALL), candles(list(range(480))))
    assert same(store.read(B, "1m", *ALL), candles([*range(480), 481]))
    store.close()
