"""Findings about the Redis of a config, and its row among the stores."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Iterator, Mapping
from typing import Any

from pumpwatch.config import Config
from pumpwatch.errors import ConfigError, PumpWatchError
from pumpwatch.findings import FAIL, OK, UNREACHABLE, WARN, Finding
from pumpwatch.redis.connection import connection_of
from pumpwatch.redis.server_facts import RedisFacts, read_facts
from pumpwatch.sink_abilities import ServerFacts

NAME = "redis"


def library_findings(config: Config) -> Iterator[Finding]:
    """Yield a finding if the config names a Redis and its client library is missing."""
    if config.redis.nodes and importlib.util.find_spec("redis") is None:
        yield Finding(NAME, FAIL, "the Python package `redis` is missing", "run: pip install 'pumpwatch[redis]'")


def server_findings(config: Config) -> list[Finding]:
    """Return findings about the Redis of the config and its harmful settings; empty if the config does not name one."""
    if not config.redis.nodes or importlib.util.find_spec("redis") is None:
        return []
    began = time.monotonic()
    try:
        facts = facts_of(config)
    except PumpWatchError as error:
        state = FAIL if isinstance(error, ConfigError) else UNREACHABLE
        ms = round((time.monotonic() - began) * 1000, 1)
        return [Finding(NAME, state, error.message.removeprefix(f"{NAME}: "), error.hint, ms)]
    return [Finding(NAME, OK, facts.describe(), ms=round((time.monotonic() - began) * 1000, 1)),
            *(Finding(NAME, WARN, detail, hint) for detail, hint in facts.advice())]


def facts_of(config: Config) -> RedisFacts:
    """Query the Redis of the config. Raises ConfigError or ServiceUnavailable."""
    redis = connection_of(config.redis, quiet=True)
    assert redis is not None, "the config names nodes"
    try:
        return read_facts(redis)
    finally:
        redis.close()


def store_facts(config: Config) -> tuple[str, ServerFacts]:
    """Return the state of the Redis of the config, and its figures as a store."""
    try:
        facts = facts_of(config)
    except PumpWatchError as error:
        return f"down: {error.message.removeprefix(f'{NAME}: ')}", ServerFacts()
    return "up", ServerFacts(f"Redis {facts.version}", facts.used_bytes, len(facts.masters), None, facts.hit_ratio)


def calls_of(status: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Return the Redis calls of a running collector, by operation."""
    return list(((status or {}).get("redis") or {}).get("calls", ()))
