"""A store of any older version is read as it is, and brought up to date by the next writer."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from pumpwatch.market.market_file import FILE_NAME
from pumpwatch.market.market_migrations import market_migrations
from pumpwatch.market.sqlite_store import SqliteCandleStore
from pumpwatch.store.sqlite_library import Database
from tests.market.store_contract import ALL, A, candles, same

STEPS = [step.name for step in market_migrations._migrations]


@pytest.mark.parametrize("version", range(1, len(STEPS) + 1))
def test_a_store_of_an_older_version_is_brought_up_to_date(tmp_path: Path, version: int) -> None:
    stop = dict(enumerate(STEPS)).get(version)
    db = Database(tmp_path / FILE_NAME)
    db.execute("PRAGMA auto_vacuum=INCREMENTAL")
    market_migrations.apply(db, stop_before=stop)
    db.execute("INSERT INTO series VALUES (1, 'binance', 'spot', 'AUSDT')")
    rows = candles([3])
    figures = [float(column[0]) for column in (rows.open, rows.high, rows.low, rows.close, rows.volume, rows.quote_volume,
                                               rows.taker_buy_volume)]
    db.execute("INSERT INTO candles VALUES (1, 60, ?, ?, ?, ?, ?, ?, ?, ?, 7, 1, 1)",
               [int(rows.timestamp[0]) // 10**9, *figures])
    db.conn.commit()
    db.close()
    reader = SqliteCandleStore(tmp_path, read_only=True)
    assert same(reader.read(A, "1m", *ALL), rows)
    assert reader.file.migrations() == STEPS[:version]
    reader.close()
    store = SqliteCandleStore(tmp_path)
    assert store.file.migrations() == STEPS
    assert same(store.read(A, "1m", *ALL), rows)
    store.write("1m", [A], candles([4]))
    store.close()
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    SqliteCandleStore(fresh).close()
    assert schema(tmp_path / FILE_NAME) == schema(fresh / FILE_NAME)


def schema(path: Path) -> list[tuple[str, ...]]:
    connection = sqlite3.connect(path)
    found = connection.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY name").fetchall()
    connection.close()
    return found
