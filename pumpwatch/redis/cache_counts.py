"""Reads one shared cache, counts hits and misses, and pauses for a moment after a late answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from pumpwatch.redis.connection import RedisConnection
from pumpwatch.redis.errors import RedisUnavailable

PAUSE_S = 1.0  # otherwise an answer about hundreds of symbols would wait for each of them

T = TypeVar("T")


class CacheCounts:
    """The figures of one cache; hits and misses also go to the connection's counts. Any thread may use it."""

    def __init__(self, redis: RedisConnection) -> None:
        self._redis, self._lock = redis, threading.Lock()
        self._hits = self._misses = self._failures = 0
        self._hit_age_s = self._paused_until_s = 0.0

    def read(self, read: Callable[[], T | None], age_of: Callable[[T], float], ttl_s: float) -> T | None:
        """Return the result of `read`; None if it is None or older than `ttl_s`, or if Redis does not answer."""
        if time.monotonic() < self._paused_until_s:
            return None
        try:
            found = read()
        except RedisUnavailable as error:
            with self._lock:
                self._failures += 1
            if error.kind in ("late", "timeout"):
                self._paused_until_s = time.monotonic() + PAUSE_S
            return None
        age_s = age_of(found) if found is not None else ttl_s
        if found is None or age_s >= ttl_s:
            with self._lock:
                self._misses += 1
            self._redis.count("misses")
            return None
        with self._lock:
            self._hits += 1
            self._hit_age_s += age_s
        self._redis.count("hits")
        return found

    def figures(self) -> dict[str, float]:
        """Return hits, misses, failures, and the sum of the ages of all hits (hit_age_s); only Redis knows its entries."""
        with self._lock:
            return {"hits": self._hits, "misses": self._misses, "entries": 0, "bytes": 0, "evictions": 0,
                    "failures": self._failures, "hit_age_s": self._hit_age_s}
