"""The check finds each kind of flaw that a file can have."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pumpwatch.market.market_file import FILE_NAME
from pumpwatch.market.sqlite_store import SqliteCandleStore
from pumpwatch.market.store_check import candle_flaws
from tests.market.store_contract import START, A, candles


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteCandleStore]:
    store = SqliteCandleStore(tmp_path / FILE_NAME)
    store.write("1m", [A], candles(list(range(1000))))
    yield store
    store.close()


@pytest.mark.parametrize(("harm", "kind", "detail"), [
    ("UPDATE blocks SET candles = 7 WHERE start = (SELECT min(start) FROM blocks)", "file", "other candles"),
    ("UPDATE blocks SET data = x'0102' WHERE start = (SELECT min(start) FROM blocks)", "file", "damaged"),
    ("UPDATE candles SET close = NULL WHERE timestamp = (SELECT max(timestamp) FROM candles)", "ohlc", "close None"),
    ("UPDATE candles SET timestamp = timestamp + 1 WHERE timestamp = (SELECT max(timestamp) FROM candles)", "order", "not at"),
    ("UPDATE candles SET timestamp = (SELECT min(first) FROM blocks) WHERE timestamp = (SELECT max(timestamp) FROM candles)",
     "duplicate", "in a block and in rows"),
])
def test_a_flaw_is_named(store: SqliteCandleStore, harm: str, kind: str, detail: str) -> None:
    assert store.check() == []
    store.file.connection.execute(harm)
    (flaw,) = store.check()
    assert (flaw.kind, flaw.series, flaw.interval) == (kind, A, "1m")
    assert detail in flaw.detail


def test_candles_of_an_unknown_series_are_named(store: SqliteCandleStore) -> None:
    store.file.connection.execute("DELETE FROM series")
    assert {flaw.kind for flaw in store.check()} == {"series"}


def test_doubles_and_times_out_of_order_are_flaws() -> None:
    rows = candles([3, 3, 2]).take(np.arange(3))
    assert [(flaw.kind, (flaw.timestamp_ns - START) // (60 * 10**9)) for flaw in candle_flaws(A, "1m", rows)] == [
        ("duplicate", 3), ("order", 2)]
