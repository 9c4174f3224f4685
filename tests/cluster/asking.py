"""Ask a real Redis directly, by a clock that a test moves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from redis import Redis

from pumpwatch.redis.connection import Script

T = TypeVar("T")
CLOCK = "clock:{cluster:test}"


class AskedDirectly:
    """Stands for a RedisConnection without threads: the script is the shipped one but for where its time comes from."""

    prefix = "test"

    def __init__(self, port: int) -> None:
        self.client = Redis(port=port, protocol=2)

    def call(self, operation: str, function: Callable[[Any], T], within_s: float) -> T:
        return function(self.client)

    def script(self, source: str) -> Script:
        assert "redis.call('TIME')" in source
        return Script(source.replace("redis.call('TIME')", f"redis.call('HMGET', '{CLOCK}', 's', 'us')"))

    def set_clock(self, us: int) -> None:
        """Set Redis' time, in µs since 1970."""
        self.client.hset(CLOCK, mapping={"s": us // 1_000_000, "us": us % 1_000_000})

    def lose_everything(self, us: int) -> None:
        """Empty the server."""
        self.client.flushall()
        self.set_clock(us)
