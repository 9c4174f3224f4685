"""Wait on the hub, and let the servers' own work wait in a thread, so that greenlets go on."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

import gevent

from pumpwatch.config_redis import RedisConfig
from pumpwatch.redis.connection import Client, RedisConnection
from pumpwatch.redis.errors import RedisUnavailable

T = TypeVar("T")
PATIENT_S = 20.0  # the machine may be busy


def eventually(condition: Callable[[], Any], what: str, timeout_s: float = 60.0) -> Any:
    """Wait on the hub until the condition is true, and return what it gave."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if found := condition():
            return found
        gevent.sleep(0.01)
    raise AssertionError(f"not within {timeout_s:g} s: {what}")


def in_thread(function: Callable[..., T], *arguments: Any) -> T:
    """Run a function that blocks, without blocking the hub."""
    found: T = gevent.get_hub().threadpool.apply(function, arguments)
    return found


def patient(connection: RedisConnection, function: Callable[[Client], T]) -> T:
    """Call without a hurry."""
    return connection.call("test", function, PATIENT_S)


def kind_of(connection: RedisConnection, function: Callable[[Client], object], within_s: float = 5.0) -> str:
    """Return how a call ends: `ok`, or the kind of its error."""
    try:
        connection.call("test", function, within_s)
    except RedisUnavailable as error:
        return error.kind
    return "ok"


def connected(nodes: list[str], **named: Any) -> RedisConnection:
    """Return a connection that has found its servers, and is not in a hurry: the machine may be busy."""
    connection = RedisConnection(RedisConfig(nodes=nodes, **named))
    connection.within_s = PATIENT_S
    assert connection.connect(PATIENT_S), connection.trouble
    return connection
