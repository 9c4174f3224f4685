"""`check` and `db status` name the Redis of a config."""

from __future__ import annotations

import sys

import pytest

from pumpwatch.config import Config
from pumpwatch.config_redis import RedisConfig
from pumpwatch.errors import ConfigError
from pumpwatch.findings import FAIL, OK, UNREACHABLE, WARN
from pumpwatch.ops.redis_check import calls_of, library_findings, server_findings, store_facts
from pumpwatch.redis.connection import connection_of
from tests.redis_server import RedisNode, RedisNodes, free_port

AWAY = Config(redis=RedisConfig(nodes=[f"127.0.0.1:{free_port()}"]))


def test_without_a_redis_nothing_is_said() -> None:
    assert list(library_findings(Config())) == [] == server_findings(Config())
    assert list(library_findings(AWAY)) == []


def test_a_missing_library_is_named_with_the_extra_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    (finding,) = library_findings(AWAY)
    assert finding.state == FAIL and finding.hint == "run: pip install 'pumpwatch[redis]'" and server_findings(AWAY) == []
    with pytest.raises(ConfigError, match="the Python package `redis` is missing"):
        connection_of(AWAY.redis)


def test_a_cluster_is_fine_and_a_server_without_a_disk_is_warned_of(redis_cluster: RedisNodes, single_redis: RedisNode) -> None:
    found = server_findings(Config(redis=RedisConfig(nodes=redis_cluster.addresses[:1])))
    assert [(finding.name, finding.state) for finding in found] == [("redis", OK)] and "3 masters" in found[0].detail
    found = server_findings(Config(redis=RedisConfig(nodes=[single_redis.address])))
    assert [finding.state for finding in found] == [OK, WARN] and found[1].hint == "set appendonly yes"


def test_one_that_is_away_is_unreachable_with_the_reason() -> None:
    found = server_findings(AWAY)
    assert [finding.state for finding in found] == [UNREACHABLE] and "no connection" in found[0].detail
    state, facts = store_facts(AWAY)
    assert state.startswith("down: no connection") and facts.version == ""


def test_as_a_store_it_has_its_version_size_masters_and_the_collectors_calls(redis_cluster: RedisNodes) -> None:
    state, facts = store_facts(Config(redis=RedisConfig(nodes=redis_cluster.addresses)))
    assert state == "up" and facts.version.startswith("Redis 7.") and facts.parts == 3 and facts.size_bytes
    assert calls_of(None) == [] == calls_of({"redis": {}})
    assert calls_of({"redis": {"calls": [{"operation": "read book"}]}}) == [{"operation": "read book"}]
