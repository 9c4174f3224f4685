"""Keep a sink's methods off the hub: a client library that blocks, or an answer that is long to decode, delays no trade.

The drain calls `open`, `write` and `close` in its own thread. Queries run in threads apart from the short questions, so that
neither a write nor a long read delays the question whether the sink is well. Each call is counted and timed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, cast

from gevent.threadpool import ThreadPool

from pumpwatch.hookspecs import Sink
from pumpwatch.store.sink_calls import SinkCalls

IN_ITS_THREAD = ("open", "write")
QUERIES = ("read", "minute_sums")
QUESTIONS = ("trouble", "keeping", "count", "advice", "server", "facts", "write_listing", "write_health")
THREADS = 2  # for queries, and as many for questions: one that hangs until its time limit leaves one


class _SinkThreads:
    """Has the methods of its sink. An ability that the sink lacks is lacking here too, also for `isinstance`."""

    def __init__(self, sink: Sink, calls: SinkCalls) -> None:
        queries, questions = ThreadPool(THREADS), ThreadPool(THREADS)
        for name in dir(sink):
            method = None if name.startswith("_") else getattr(sink, name)
            if not callable(method):
                continue
            if name in (*IN_ITS_THREAD, *QUERIES, *QUESTIONS):
                method = calls.timed(name, method)
            pool = queries if name in QUERIES else questions if name in QUESTIONS else None
            setattr(self, name, method if pool is None else partial(_call, pool, method))


def _call(pool: ThreadPool, method: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    return pool.apply(method, arguments, named)


def off_hub(sink: Sink, calls: SinkCalls | None = None) -> Sink:
    """Return the sink with QUERIES and QUESTIONS in threads: only the calling greenlet waits. Other methods are its own.

    Call those on the hub's thread only. Errors come through. `calls` gets the figures.
    """
    return cast(Sink, _SinkThreads(sink, calls or SinkCalls()))
