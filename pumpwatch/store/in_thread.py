"""Call an object's methods in another thread.

The journal and the ledger block, so each has a thread and a proxy: `in_thread(journal, pool).read_after(...)` runs in the pool's
thread, and only the calling greenlet waits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

import gevent
from gevent.threadpool import ThreadPool

from pumpwatch.errors import StorageError

T = TypeVar("T")


class _InThread(Generic[T]):
    """Runs methods in the thread; reads other attributes directly."""

    def __init__(self, target: T, pool: ThreadPool, within_s: float | None, late: str) -> None:
        self._target, self._pool, self._within_s, self._late = target, pool, within_s, late

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        if not callable(found):
            return found
        method: Callable[..., Any] = found

        def call(*arguments: Any, **named: Any) -> Any:
            with gevent.Timeout(self._within_s, StorageError(self._late)):
                return self._pool.apply(method, arguments, named)

        return call


def in_thread(target: T, pool: ThreadPool, *, within_s: float | None = None, late: str = "") -> T:
    """Return a proxy of `target` whose methods run in the pool's thread; the calling greenlet waits for the result.

    Attributes that are not callable are read in the caller's thread. A call from the pool's own thread runs at once. within_s: a
    call that takes longer raises StorageError with the message `late`, but continues in the thread.
    """
    return cast(T, _InThread(target, pool, within_s, late))
