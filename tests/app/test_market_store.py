"""Whatever becomes of the store of candles: its process says so once, and mends it or waits; the collector goes on."""

from __future__ import annotations

import logging
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace

import gevent
import pytest

from pumpwatch.app import market
from pumpwatch.app.market import MarketProcess
from pumpwatch.clock import Clock
from pumpwatch.config import load
from pumpwatch.errors import StorageError
from pumpwatch.market.intervals import MINUTE
from pumpwatch.market.market_file import FILE_NAME
from pumpwatch.market.sqlite_store import SqliteCandleStore
from tests.market.live_journal import LiveJournal, assert_same
from tests.market.store_contract import ALL
from tests.small_disk import ballast_of, fill, small_disk

# a round each second; and pages are read from the file each time, so that damage is met
SOON = ("from pumpwatch.market import market_file, process; market_file.WRITER_CACHE_KB = 1; process.CANDLES_S = 1.0;"
        " process.STATE_S = 0.1; process.serve()")


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(market, "AGAIN_S", 0.05)
    caplog.set_level(logging.INFO)


@contextmanager
def journal(folder: Path) -> Iterator[LiveJournal]:
    """Give a journal of the last quarter of an hour but five minutes."""
    live = LiveJournal(folder, time.time_ns() - 900 * 10**9)
    live.commit(live.trades(600, 1, live.clock.now_ns(), 10**9))
    yield live
    live.journal.close()


@contextmanager
def running(folder: Path) -> Iterator[MarketProcess]:
    config = load(None, {"PUMPWATCH_STORE__DIR": str(folder), "PUMPWATCH_MARKET__HISTORY": "false"})
    made = MarketProcess(SimpleNamespace(config=config, clock=Clock()), (sys.executable, "-P", "-c", SOON), 0.0)
    greenlet = gevent.spawn(made.run)
    try:
        yield made
    finally:
        made.stop()
        greenlet.join(30)


def wait_until(done) -> None:
    with gevent.Timeout(90):
        while not done():
            gevent.sleep(0.05)


def held(folder: Path) -> dict:
    """Return the stored minutes; none while the store cannot be read."""
    try:
        with closing(SqliteCandleStore(folder / FILE_NAME, read_only=True)) as store:
            return {(name, at): (*row, count) for name in store.series() for rows in [store.read(name, MINUTE, *ALL)]
                    for at, *row, count in zip(rows.timestamp.tolist(), *(column.tolist() for column in rows.columns()[2:7]),
                                               rows.trades.tolist(), strict=True)}
    except StorageError:
        return {}


def wait_for_candles(live: LiveJournal) -> None:
    wanted = live.candles(2**62)
    wait_until(lambda: {key: row[-1] for key, row in held(live.folder).items()} == {key: row[-1] for key, row in wanted.items()})
    assert_same(held(live.folder), wanted)


def overwrite(folder: Path) -> None:
    """Damage the store: all of its pages but the first, in the file and in its log."""
    for path, kept in ((folder / FILE_NAME, 4096), (folder / f"{FILE_NAME}-wal", 0)):
        if path.exists() and path.stat().st_size > kept:
            with path.open("r+b") as file:
                file.seek(kept)
                file.write(b"\xa5" * (path.stat().st_size - kept))


def lines(caplog: pytest.LogCaptureFixture, text: str) -> list[str]:
    return [line for line in caplog.messages if text in line]


def test_a_store_that_is_damaged_is_built_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with journal(tmp_path) as live:
        with running(tmp_path) as made:
            wait_for_candles(live)
            overwrite(tmp_path)  # while it runs
            live.commit(live.trades(20, 1000, live.clock.now_ns() + 60 * 10**9, 10**9))
            wait_until(lambda: lines(caplog, "candles set aside"))
            wait_for_candles(live)
            wait_until(lambda: made.status()["problem"] == "" and made.status()["problems"] == {})
            assert made.starts == 2
        assert len(lines(caplog, "has ended, it starts again")) == 1
        assert len(lines(caplog, "candles set aside")) == 1
        SqliteCandleStore(tmp_path).close()  # everything is in the file, nothing in its log
        overwrite(tmp_path)  # while it is closed
        with running(tmp_path) as made:
            wait_until(lambda: len(lines(caplog, "candles set aside")) == 2)
            wait_for_candles(live)
            assert made.starts == 1
        with closing(SqliteCandleStore(tmp_path)) as store:
            assert store.check() == []
            assert store.file.set_aside is None


def test_a_store_of_a_newer_version_is_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with journal(tmp_path):
        SqliteCandleStore(tmp_path / FILE_NAME).close()
        with closing(sqlite3.connect(tmp_path / FILE_NAME)) as file:
            table = file.execute("SELECT name FROM sqlite_schema WHERE name LIKE '%migrations'").fetchone()[0]
            columns = [row[1] for row in file.execute(f"PRAGMA table_info({table})")]
            old = dict(zip(columns, file.execute(f"SELECT * FROM {table}").fetchone(), strict=True)) | {"name": "m999_later"}
            old.pop("id", None)
            file.execute(f"INSERT INTO {table} ({', '.join(old)}) VALUES ({', '.join('?' * len(old))})", tuple(old.values()))
            file.commit()
            before = list(file.iterdump())
        with running(tmp_path) as made:
            wait_until(lambda: lines(caplog, "newer pumpwatch"))
            wait_until(lambda: made.pid == 0)
        assert made.starts == 1
        assert "newer pumpwatch" in made.status()["problem"]
        assert len(lines(caplog, "newer pumpwatch")) == 1
        with closing(sqlite3.connect(tmp_path / FILE_NAME)) as file:
            assert list(file.iterdump()) == before


def test_a_store_that_another_process_locks_is_waited_for(tmp_path: Path, caplog: pytest.LogCaptureFixture,
                                                                capfd: pytest.CaptureFixture[str]) -> None:
    with journal(tmp_path) as live, running(tmp_path) as made:
        wait_for_candles(live)
        with closing(sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            live.commit(live.trades(20, 1000, live.clock.now_ns() + 60 * 10**9, 10**9))
            wait_until(lambda: "locked" in made.status()["problems"].get("candles", ""))
            other.execute("ROLLBACK")
        wait_for_candles(live)
        wait_until(lambda: made.status()["problems"] == {})
        assert made.starts == 1
        assert len(lines(caplog, "locked")) == 1
        assert "Traceback" not in capfd.readouterr().err
        assert len(lines(caplog, "succeeded again")) == 1


def test_a_full_disk_is_said_once_and_candles_go_on_with_room(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "disk"
    with small_disk(folder, 4) as problem:
        if problem:
            pytest.skip(problem)
        with journal(folder) as live:
            fill(folder)
            with running(folder) as made:
                wait_until(lambda: made.starts > 2)
                assert "full" in made.status()["problem"]
                assert len(lines(caplog, "it starts again")) == 1
                ballast_of(folder).unlink()
                wait_for_candles(live)
                wait_until(lambda: made.status()["problem"] == "")
                assert lines(caplog, "set aside") == []
