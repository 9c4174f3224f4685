"""Run a sink's methods off the hub, so that neither a blocking client library nor a long decoding delays trades.

The drain calls `open`, `write` and `close` in its own thread. Long queries and short ones run in separate threads, so that
neither a write nor a long read delays a health check. Each call is counted and timed.
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
THREADS = 2  # for QUERIES, and again for QUESTIONS: if one call hangs until its time limit, one thread is left


class _SinkThreads:
    """Has exactly the methods of its sink, so that `isinstance` finds the same abilities."""

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
    """Return the sink with QUERIES and QUESTIONS in threads, so that only the calling greenlet waits.

    Call these methods on the hub's thread only; all other methods run in the caller's thread. Errors pass through. calls: counts
    the calls.
    """
    return cast(Sink, _SinkThreads(sink, calls or SinkCalls()))
