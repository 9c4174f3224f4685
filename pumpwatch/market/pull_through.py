"""Answers from the caches, fastest first, then from the venue, with one request at a time per key.

Callers that ask for a key while it is being fetched wait for that answer. A failure is remembered for a few seconds.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from gevent.event import Event

from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.errors import PumpWatchError, ServiceUnavailable
from pumpwatch.market.interfaces import Cache

REFUSED_S = 5.0  # a refusal is remembered so long
REFUSALS_KEPT = 1000
WAIT_S = 30.0  # for the answer that another one is fetching

T = TypeVar("T")


class PullThrough(Generic[T]):
    """Fetches values of one kind. tiers: caches under their names, the fastest first."""

    def __init__(self, tiers: dict[str, Cache], clock: Clock) -> None:
        self.tiers, self._clock = tiers, clock
        self._lock = threading.Lock()
        self._fetching: dict[str, Event] = {}
        self._refused: dict[str, tuple[int, str]] = {}
        self.asked = self.failed = 0

    def cached(self, key: str, newer_ns: int = 0) -> tuple[T, int, str] | None:
        """Return a value, its time and the tier that has it; None without one. One older than `newer_ns` is dropped."""
        for place, (name, tier) in enumerate(self.tiers.items()):
            found = tier.get(key)
            if found is None:
                continue
            value, at_ns = found
            if at_ns < newer_ns:
                tier.drop(key)
                continue
            for faster in list(self.tiers.values())[:place]:
                faster.put(key, value, at_ns)
            return value, at_ns, name
        return None

    def get(self, key: str, fetch: Callable[[], T], newer_ns: int = 0) -> tuple[T, int, str]:
        """Return a value, its time (ns) and its source: a tier's name, or `venue`. Raises ServiceUnavailable."""
        return self.cached(key, newer_ns) or self.fetched(key, fetch)

    def fetched(self, key: str, fetch: Callable[[], T]) -> tuple[T, int, str]:
        """Fetch a value that is not cached, or wait for the greenlet that is fetching it. Returns and raises as `get`."""
        while True:
            with self._lock:
                at_ns, reason = self._refused.get(key, (0, ""))
                if reason and 0 <= self._clock.now_ns() - at_ns < REFUSED_S * NS_PER_S:
                    raise ServiceUnavailable(reason, "the venue was not asked again yet")
                running = self._fetching.get(key)
                if running is None:
                    self._fetching[key] = Event()
                    break
            if not running.wait(WAIT_S):
                raise ServiceUnavailable("no answer in time")
            found = self.cached(key)
            if found is not None:
                return found
        return self._fetch(key, fetch)

    def _fetch(self, key: str, fetch: Callable[[], T]) -> tuple[T, int, str]:
        try:
            self.asked += 1
            value = fetch()
            now_ns = self._clock.now_ns()
            for tier in self.tiers.values():
                tier.put(key, value, now_ns)
            return value, now_ns, "venue"
        except PumpWatchError as error:
            self.failed += 1
            with self._lock:
                if len(self._refused) >= REFUSALS_KEPT:
                    self._refused.clear()
                self._refused[key] = self._clock.now_ns(), error.message
            raise
        finally:
            with self._lock:
                self._fetching.pop(key).set()
