"""A cache in memory: the least recently used entries are evicted first; expired ones count as absent. Safe between threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import msgspec
from cachetools import LRUCache

from pumpwatch.clock import NS_PER_S, Clock

ENTRY_BYTES = 200  # of an entry besides its value: the key, and the places in the cache


class _Evicting(LRUCache[str, tuple[Any, int, int]]):
    """Counts evictions for lack of space."""

    evictions = 0

    def popitem(self) -> tuple[str, tuple[Any, int, int]]:
        self.evictions += 1
        return super().popitem()


class MemoryCache:
    """Keeps values for `ttl_s`, in at most `most_bytes`. A value larger than that is not kept.

    size_of: the bytes of a value; without it the length of its JSON.
    """

    def __init__(self, most_bytes: int, ttl_s: float, clock: Clock, size_of: Callable[[Any], int] | None = None) -> None:
        self._ttl_ns, self._clock = int(ttl_s * NS_PER_S), clock
        self._size_of = size_of or (lambda value: len(msgspec.json.encode(value)))
        self._kept = _Evicting(most_bytes, getsizeof=lambda entry: entry[2])
        self._lock = threading.Lock()
        self._hits = self._misses = self._hit_age_ns = 0

    def get(self, key: str) -> tuple[Any, int] | None:
        """Return a value and the time (ns) when it was put there; None if it is unknown or too old."""
        now_ns = self._clock.now_ns()
        with self._lock:
            entry = self._kept.get(key)
            if entry is not None and abs(now_ns - entry[1]) < self._ttl_ns:  # the clock may have been set back
                self._hits += 1
                self._hit_age_ns += max(0, now_ns - entry[1])
                return entry[0], entry[1]
            if entry is not None:
                del self._kept[key]
            self._misses += 1
            return None

    def put(self, key: str, value: Any, at_ns: int) -> None:
        """Keep a value of that time, in place of an older one."""
        size = self._size_of(value) + len(key) + ENTRY_BYTES
        with self._lock:
            self._kept.pop(key, None)
            if size <= self._kept.maxsize:
                self._kept[key] = value, at_ns, size

    def drop(self, key: str) -> None:
        """Forget a value."""
        with self._lock:
            self._kept.pop(key, None)

    def figures(self) -> dict[str, float]:
        """Return hits, misses, entries, bytes, evictions, and the ages of all hits together (hit_age_s)."""
        with self._lock:
            return {"hits": self._hits, "misses": self._misses, "entries": len(self._kept), "bytes": self._kept.currsize,
                    "evictions": self._kept.evictions, "hit_age_s": self._hit_age_ns / NS_PER_S}
