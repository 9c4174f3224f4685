"""A cache on disk with a size limit. Values are MessagePack; nothing is ever unpickled.

It is safe between threads and processes, and survives a restart. A cache whose files cannot be used behaves like an empty one.
"""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diskcache  # type: ignore[import-untyped]
import gevent
import msgspec
from gevent.threadpool import ThreadPool

from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.errors import REFUSALS, StorageError
from pumpwatch.order_book import OrderBook
from pumpwatch.ticker import Ticker

FOLDER = "market_cache"  # of a data folder
TICKER_S, BOOK_S = 300.0, 30.0  # how long each kind of answer is kept
WITHIN_S = 1.0  # a disk that takes longer is not waited for
LEFT_S = 10.0
MEASURE_S = 10.0
COUNTS = ("hits", "misses", "entries", "bytes", "evictions", "hit_age_s", "failures")
ERRORS = (OSError, sqlite3.Error, diskcache.Timeout)
NOT_A_VALUE = (*ERRORS, *REFUSALS)


class BytesDisk(diskcache.Disk):  # type: ignore[misc]
    """Stores bytes under text keys, and raises ValueError for anything else, so that a foreign file cannot run code."""

    def get(self, key: Any, raw: bool) -> Any:
        """Return a key."""
        if not raw or not isinstance(key, str):
            raise ValueError("not a key of this cache")
        return key

    def fetch(self, mode: int, filename: str | None, value: Any, read: bool) -> Any:
        """Return a value: bytes in the database, or in a file beside it."""
        if mode not in (diskcache.core.MODE_RAW, diskcache.core.MODE_BINARY):
            raise ValueError("not a value of this cache")
        return super().fetch(mode, filename, value, read)


class DiskCache:
    """Keeps values for `ttl_s` in a folder, in at most about `most_bytes`; the least recently used go first.

    kind: the type that a value is decoded as. Anything else counts as absent.
    """

    def __init__(self, folder: Path, most_bytes: int, ttl_s: float, clock: Clock, kind: Any) -> None:
        self._ttl_ns, self._clock = int(ttl_s * NS_PER_S), clock
        self._decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(tuple[int, kind])
        self._hits = self._misses = self._failures = self._hit_age_ns = self._entries = self._bytes = 0
        self._measured_s = -math.inf
        self._kept: Any = None
        try:
            self._kept = diskcache.Cache(str(folder), timeout=0.1, disk=BytesDisk, size_limit=most_bytes,
                                         eviction_policy="least-recently-used")
        except NOT_A_VALUE:
            self._failures += 1

    def get(self, key: str) -> tuple[Any, int] | None:
        """Return a value and the time (ns) when it was put there; None if it is unknown or too old."""
        try:
            raw = self._kept.get(key) if self._kept is not None else None
            at_ns, value = self._decoder.decode(raw) if raw is not None else (0, None)
        except NOT_A_VALUE:
            self._failures += 1
            at_ns, value = 0, None
        if value is None or abs(self._clock.now_ns() - at_ns) >= self._ttl_ns:
            self._misses += 1
            return None
        self._hits += 1
        self._hit_age_ns += max(0, self._clock.now_ns() - at_ns)
        return value, at_ns

    def put(self, key: str, value: Any, at_ns: int) -> None:
        """Keep a value of that time, in place of an older one."""
        try:
            if self._kept is not None:
                self._kept.set(key, msgspec.msgpack.encode((at_ns, value)), expire=self._ttl_ns / NS_PER_S)
                if self._clock.monotonic() - self._measured_s >= MEASURE_S:
                    self._measure()
        except ERRORS:
            self._failures += 1

    def drop(self, key: str) -> None:
        """Forget a value."""
        try:
            if self._kept is not None:
                self._kept.delete(key)
        except ERRORS:
            self._failures += 1

    def figures(self) -> dict[str, float]:
        """Return hits, misses, failures, entries, bytes and evictions; the library does not count evictions.

        hit_age_s: the ages of all hits together.
        """
        self._measure()
        return self.counts()

    def _measure(self) -> None:
        """Look for the number of entries and their bytes."""
        self._measured_s = self._clock.monotonic()
        try:
            if self._kept is not None:
                self._entries, self._bytes = len(self._kept), self._kept.volume()
        except ERRORS:
            self._failures += 1

    def counts(self) -> dict[str, float]:
        """Return the same without a look at the disk: entries and bytes are those of the last value that was kept."""
        return {"hits": self._hits, "misses": self._misses, "entries": self._entries, "bytes": self._bytes, "evictions": 0,
                "hit_age_s": self._hit_age_ns / NS_PER_S,
                "failures": self._failures}

    def close(self) -> None:
        """Close the files."""
        if self._kept is not None:
            self._kept.close()


class CacheInThread:
    """A cache on disk that works in a native thread, which opens it at the first request, so that the hub is not blocked.

    A request that takes longer than WITHIN_S counts as a miss. For LEFT_S after that, the disk is not asked at all, since an
    answer about hundreds of symbols would wait for each one.
    """

    def __init__(self, make: Callable[[], DiskCache], thread: ThreadPool) -> None:
        self._make, self._thread = make, thread
        self._cache: DiskCache | None = None
        self._late, self._left_until_s = 0, -math.inf

    def _opened(self) -> DiskCache:
        if self._cache is None:
            self._cache = self._make()
        return self._cache

    def _do(self, work: Callable[[DiskCache], Any]) -> Any:
        if time.monotonic() < self._left_until_s:
            self._late += 1
            return None
        try:
            with gevent.Timeout(WITHIN_S, StorageError(f"the disk has not answered within {WITHIN_S:.0f} s")):
                return self._thread.apply(lambda: work(self._opened()))
        except StorageError:
            self._late += 1
            self._left_until_s = time.monotonic() + LEFT_S
            return None

    def get(self, key: str) -> tuple[Any, int] | None:
        """Return a value and the time (ns) when it was put there; None if it is unknown or too old."""
        found: tuple[Any, int] | None = self._do(lambda cache: cache.get(key))
        return found

    def put(self, key: str, value: Any, at_ns: int) -> None:
        """Keep a value of that time, in place of an older one."""
        self._do(lambda cache: cache.put(key, value, at_ns))

    def drop(self, key: str) -> None:
        """Forget a value."""
        self._do(lambda cache: cache.drop(key))

    def figures(self) -> dict[str, float]:
        """Return the figures of the cache as of the last time that they were read, without waiting for the disk."""
        cache = self._cache
        return {**(cache.counts() if cache is not None else dict.fromkeys(COUNTS, 0)), "late": self._late}


def disk_caches(folder: Path) -> list[tuple[Path, float, Any]]:
    """Return the folder, the time that answers are kept (s) and the type of each cache of a data folder."""
    return [(folder / FOLDER / "tickers", TICKER_S, Ticker), (folder / FOLDER / "books", BOOK_S, OrderBook)]
