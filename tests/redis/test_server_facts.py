"""A server says what it is, and which of its settings hurt."""

from __future__ import annotations

import dataclasses

import pytest

from pumpwatch.config_redis import RedisConfig
from pumpwatch.errors import ConfigError
from pumpwatch.redis.connection import RedisConnection
from pumpwatch.redis.errors import RedisUnavailable
from pumpwatch.redis.server_facts import NodeFacts, RedisFacts, numbers_of, read_facts
from tests.redis.waiting import connected
from tests.redis_server import RedisNode, RedisNodes, free_port, single

GOOD = NodeFacts("a:1", "7.0.15", 1_000_000, 0, "noeviction", persists=True, replicas=1, keys=2, hits=3, misses=1, evicted=0)


def facts(*nodes: NodeFacts) -> RedisFacts:
    return RedisFacts(True, nodes or (GOOD,) * 3)


def test_a_cluster_is_described_with_its_masters_replicas_and_memory(redis_cluster: RedisNodes) -> None:
    connection = connected(redis_cluster.addresses)
    found = read_facts(connection)
    assert found.cluster and len(found.masters) == 3 and sum(node.replicas for node in found.masters) == 3
    assert found.describe().startswith(f"Redis {found.version}, a cluster of 3 masters and 3 replicas, up; ")
    assert all(node.persists for node in found.masters) and found.used_bytes > 1_000_000
    assert list(found.advice()) == []
    connection.close()


def test_a_single_server_that_evicts_and_forgets_is_warned_of(single_redis: RedisNode) -> None:
    connection = connected([single_redis.address])
    single_redis.ask("CONFIG SET", "maxmemory-policy", "allkeys-lru")
    found = read_facts(connection)
    single_redis.ask("CONFIG SET", "maxmemory-policy", "noeviction")
    said = [text for text, _ in found.advice()]
    assert "a single server" in found.describe()
    assert [text.split(":")[0] for text in said] == [
        "maxmemory-policy allkeys-lru may remove leases, sessions and limits when memory is full",
        "nothing is written to the disk"]
    single_redis.ask("CONFIG SET", "save", "60 1")
    assert read_facts(connection).masters[0].persists
    single_redis.ask("CONFIG SET", "save", "")
    connection.close()


def test_every_risk_has_a_remedy() -> None:
    assert list(facts().advice()) == []
    old, full, alone = (dataclasses.replace(GOOD, **changed) for changed in (
        {"version": "6.0.9"}, {"used_bytes": 95, "limit_bytes": 100}, {"replicas": 0}))
    said = {text.split(":")[0]: hint for text, hint in facts(old, full, alone).advice()}
    assert list(said) == ["version 6.0.9 is older than 6.2", "more than 90 % of maxmemory is used", "a master without a replica"]
    assert all(said.values())
    assert [text for text, _ in facts(GOOD, GOOD).advice()] == ["2 masters cannot agree on a fail-over"]


def test_the_part_of_lookups_that_found_something() -> None:
    assert facts().hit_ratio == 0.75
    assert facts(dataclasses.replace(GOOD, hits=0, misses=0)).hit_ratio is None
    assert numbers_of("7.10.2") > numbers_of("7.9")


def test_a_wrong_password_is_an_error_of_the_config_and_no_server_one_of_the_service() -> None:
    with single({"requirepass": "right"}) as node:
        wrong = RedisConnection(RedisConfig(nodes=[node.address], password="wrong"))
        with pytest.raises(ConfigError, match=r"redis\.password is wrong"):
            read_facts(wrong)
        wrong.close()
    away = RedisConnection(RedisConfig(nodes=[f"127.0.0.1:{free_port()}"]))
    with pytest.raises(RedisUnavailable, match="no connection"):
        read_facts(away)
    away.close()
