"""A cache on the disk survives a restart and does not run foreign code; its errors are not those of whoever asks."""

from __future__ import annotations

import math
import pickle
import sqlite3
import threading
from pathlib import Path
from typing import cast

import diskcache
import pytest
from gevent.threadpool import ThreadPool

from pumpwatch.clock import FakeClock
from pumpwatch.market import disk_cache
from pumpwatch.market.disk_cache import CacheInThread, DiskCache
from pumpwatch.order_book import OrderBook
from pumpwatch.ticker import Ticker

TICKER = Ticker(price=1.5, at_ns=7, high=2.0)


def cache_in(folder: Path, clock: FakeClock, most_bytes: int = 10_000_000) -> DiskCache:
    return DiskCache(folder, most_bytes, 300, clock, Ticker)


def test_a_ticker_is_there_after_a_restart_with_what_is_not_known(tmp_path: Path) -> None:
    clock = FakeClock()
    first = cache_in(tmp_path, clock)
    first.put("a", TICKER, clock.now_ns())
    first.close()
    second = cache_in(tmp_path, clock)
    found = second.get("a")
    assert found is not None and repr(found[0]) == repr(TICKER) and math.isnan(found[0].low)
    assert found[1] == clock.now_ns() and second.figures()["hits"] == 1
    clock.advance(300)
    assert second.get("a") is None
    second.close()


def test_an_order_book_is_read_as_one(tmp_path: Path) -> None:
    clock = FakeClock()
    cache = DiskCache(tmp_path, 10**7, 30, clock, OrderBook)
    book = OrderBook(bids=[(1.0, 2.0)], asks=[(1.1, 3.0)], at_ns=5)
    cache.put("a", book, clock.now_ns())
    found = cache.get("a")
    assert found is not None and [tuple(level) for level in found[0].bids] == [(1.0, 2.0)] and found[0].at_ns == 5
    cache.drop("a")
    assert cache.get("a") is None
    cache.close()


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.file), "w")


def test_a_pickle_that_someone_put_there_is_not_opened(tmp_path: Path) -> None:
    clock, mark = FakeClock(), tmp_path / "ran"
    folder = tmp_path / "cache"
    foreign = diskcache.Cache(str(folder))
    foreign.set("a", Bomb(mark))
    foreign.close()
    cache = cache_in(folder, clock)
    assert cache.get("a") is None and not mark.exists()
    assert cache.figures()["failures"] == 1
    cache.close()


def test_bytes_of_another_kind_count_as_absent(tmp_path: Path) -> None:
    clock = FakeClock()
    cache = cache_in(tmp_path, clock)
    with diskcache.Cache(str(tmp_path)) as foreign:
        foreign.set("a", pickle.dumps(1))
        foreign.set("b", b"")
    assert cache.get("a") is None and cache.get("b") is None
    cache.close()


def test_a_file_that_is_damaged_or_cannot_be_made_is_an_empty_cache(tmp_path: Path) -> None:
    clock = FakeClock()
    damaged, blocked = tmp_path / "damaged", tmp_path / "blocked"
    damaged.mkdir()
    (damaged / "cache.db").write_bytes(b"not a database" * 1000)
    blocked.write_text("a file")
    for folder in (damaged, blocked):
        cache = cache_in(folder, clock)
        cache.put("a", TICKER, clock.now_ns())
        assert cache.get("a") is None and cache.figures()["failures"] >= 1
        cache.drop("a")
        cache.close()


def test_its_size_is_limited(tmp_path: Path) -> None:
    clock = FakeClock()
    cache = cache_in(tmp_path, clock, most_bytes=200_000)
    for number in range(2000):
        cache.put(f"{number}" * 50, TICKER, clock.now_ns())
    assert cache.figures()["bytes"] < 600_000
    with sqlite3.connect(tmp_path / "cache.db") as file:
        assert file.execute("SELECT count(*) FROM Cache").fetchone()[0] < 2000
    cache.close()


class HungCache:
    """A cache whose disk does not answer until the gate is open."""

    def __init__(self) -> None:
        self.gate, self.asked = threading.Event(), 0

    def get(self, key: str) -> None:
        self.asked += 1
        self.gate.wait(30)


def test_a_disk_that_hangs_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_cache, "WITHIN_S", 0.05)
    hung, pool = HungCache(), ThreadPool(1)
    cache = CacheInThread(lambda: cast(DiskCache, hung), pool)
    assert [cache.get(f"binance.spot.C{number}") for number in range(100)] == [None] * 100
    assert hung.asked == 1 and cache._late == 100
    hung.gate.set()
    monkeypatch.setattr(cache, "_left_until_s", 0.0)
    cache.get("binance.spot.C0")
    assert hung.asked == 2 and cache._late == 100
    pool.kill()
