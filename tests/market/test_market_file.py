"""The file of the store: damaged ones are set aside, newer ones refused, locked and full ones reported."""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path

import pytest

from pumpwatch.errors import EXIT_CONFIG, EXIT_DISK, StorageError
from pumpwatch.market.market_file import FILE_NAME, MarketFile, NewerMarketFile
from pumpwatch.market.sqlite_store import SqliteCandleStore
from pumpwatch.store.sqlite import DamagedError
from pumpwatch.store.sqlite_library import Database, Migrations
from tests.market.store_contract import ALL, A, candles
from tests.small_disk import fill, small_disk


def filled(folder: Path) -> Path:
    store = SqliteCandleStore(folder)
    store.write("1m", [A], candles(list(range(1000))), {"journal": "5"})
    store.close()
    return folder / FILE_NAME


def test_a_file_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    later = Migrations("market_data")

    @later()
    def of_the_future(db: Database) -> None:
        db.execute("SELECT 1")

    path = filled(tmp_path)
    with sqlite3.connect(path) as connection:
        later.apply(Database(connection))
    for read_only in (False, True):
        with pytest.raises(NewerMarketFile, match="of_the_future") as refused:
            MarketFile(path, read_only)
        assert refused.value.exit_code == EXIT_CONFIG
    assert [file.name for file in tmp_path.iterdir() if "damaged" in file.name] == []


@pytest.mark.parametrize("harm", ["another file", "cut", "first page"])
def test_a_damaged_file_is_set_aside_and_an_empty_one_begins(tmp_path: Path, caplog: pytest.LogCaptureFixture, harm: str) -> None:
    path = filled(tmp_path)
    content = path.read_bytes()
    path.write_bytes({"another file": b"not a database" * 1000, "cut": content[:len(content) // 2],
                      "first page": content[:100] + bytes(4000) + content[4100:]}[harm])
    damaged = path.read_bytes()
    with pytest.raises(DamagedError):
        MarketFile(path, read_only=True)
    assert path.read_bytes() == damaged
    with caplog.at_level(logging.ERROR):
        store = SqliteCandleStore(tmp_path)
    assert store.file.set_aside is not None
    assert store.file.set_aside.read_bytes() == damaged
    assert [record.getMessage().split(" file=")[0] for record in caplog.records] == ["candles set aside, they are built again"]
    assert store.marks() == {}
    store.write("1m", [A], candles([0]))
    assert len(store.read(A, "1m", *ALL)) == 1
    store.close()


def test_a_damaged_page_is_an_error_and_the_next_start_sets_the_file_aside(tmp_path: Path) -> None:
    path = filled(tmp_path)
    connection = sqlite3.connect(path)
    page = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'blocks'").fetchone()[0]
    connection.close()
    content = bytearray(path.read_bytes())
    content[(page - 1) * 4096:page * 4096] = b"\xff" * 4096
    path.write_bytes(content)
    store = SqliteCandleStore(tmp_path)
    with pytest.raises(DamagedError):
        store.read(A, "1m", *ALL)
    assert [flaw.kind for flaw in store.check()][:1] == ["file"]
    store.close()
    again = SqliteCandleStore(tmp_path)
    assert again.file.set_aside is not None
    assert len(again.read(A, "1m", *ALL)) == 0
    again.close()


def test_of_the_files_that_were_set_aside_the_newest_stays(tmp_path: Path) -> None:
    filled(tmp_path)
    for older in ("20260101T000000Z", "20260102T000000Z", "20260102T000000Z-wal"):
        (tmp_path / f"{FILE_NAME}.damaged-{older}").write_bytes(b"old")
    (tmp_path / FILE_NAME).write_bytes(b"not a database" * 1000)
    with pytest.raises(DamagedError) as told:
        MarketFile(tmp_path / FILE_NAME, read_only=True)
    assert "move the file away" in told.value.hint
    store = SqliteCandleStore(tmp_path)
    assert store.file.set_aside is not None
    assert [file.name for file in tmp_path.glob("*.damaged-*")] == [store.file.set_aside.name]
    store.close()


def test_a_locked_file_is_an_error_after_a_short_wait(tmp_path: Path) -> None:
    path = filled(tmp_path)
    other = sqlite3.connect(path, isolation_level=None)
    store = SqliteCandleStore(tmp_path, busy_ms=20)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageError, match="locked") as locked:
        store.write("1m", [A], candles([2000]))
    assert locked.value.exit_code == EXIT_DISK
    other.execute("ROLLBACK")
    store.write("1m", [A], candles([2000]))
    assert len(store.read(A, "1m", *ALL)) == 1001
    store.close()
    other.close()


def test_a_reader_of_a_missing_file_creates_nothing(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        SqliteCandleStore(tmp_path, read_only=True)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_an_error_and_nothing_is_half_written(tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", 4) as impossible:
        if impossible:
            pytest.skip(impossible)
        store = SqliteCandleStore(tmp_path / "small")
        store.write("1m", [A], candles([0]), {"journal": "1"})
        ballast = fill(tmp_path / "small")
        with pytest.raises(StorageError, match="make room") as full:
            store.write("1m", [A], candles(list(range(100_000))), {"journal": "2"})
        assert full.value.exit_code == EXIT_DISK
        assert store.marks() == {"journal": "1"}
        assert len(store.read(A, "1m", *ALL)) == 1
        ballast.unlink()
        store.write("1m", [A], candles([1]), {"journal": "2"})
        assert store.check() == []
        store.close()


def test_a_reader_says_that_its_file_was_replaced(tmp_path: Path) -> None:
    path = filled(tmp_path)
    reader = SqliteCandleStore(path, read_only=True)
    assert len(reader.read(A, "1m", *ALL)) == 1000
    path.rename(tmp_path / "set aside")
    with pytest.raises(StorageError):
        reader.read(A, "1m", *ALL)
    SqliteCandleStore(path).close()
    with pytest.raises(StorageError, match="another file has taken its place") as replaced:
        reader.read(A, "1m", *ALL)
    assert replaced.value.hint == "open the market data again"
    reader.close()
