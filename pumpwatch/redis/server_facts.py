"""Reads version, nodes, memory and settings of a Redis, and reports settings that put PumpWatch's data there at risk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pumpwatch.errors import ConfigError
from pumpwatch.redis.connection import Client, RedisConnection
from pumpwatch.redis.errors import RedisUnavailable

ASK_S = 5.0
OLDEST = (6, 2)


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """One master. limit_bytes: 0 without a limit. persists: whether it writes to disk. replicas: how many follow it now."""

    name: str
    version: str
    used_bytes: int
    limit_bytes: int
    policy: str
    persists: bool
    replicas: int
    keys: int
    hits: int
    misses: int
    evicted: int


@dataclass(frozen=True, slots=True)
class RedisFacts:
    """A Redis at one moment. cluster: whether it is a cluster, with every slot served."""

    cluster: bool
    masters: tuple[NodeFacts, ...]

    @property
    def version(self) -> str:
        """Return the oldest version of a master."""
        return min((node.version for node in self.masters), key=numbers_of)

    @property
    def used_bytes(self) -> int:
        return sum(node.used_bytes for node in self.masters)

    @property
    def hit_ratio(self) -> float | None:
        """Return the part of all programs' lookups that found their key, None before the first lookup."""
        asked = sum(node.hits + node.misses for node in self.masters)
        return sum(node.hits for node in self.masters) / asked if asked else None

    def describe(self) -> str:
        """Return the server in a few words."""
        replicas, keys = sum(node.replicas for node in self.masters), sum(node.keys for node in self.masters)
        nodes = f"a cluster of {len(self.masters)} masters and {replicas} replicas, up" if self.cluster else "a single server"
        return f"Redis {self.version}, {nodes}; {keys:,} keys, {self.used_bytes / 1e6:,.1f} MB"

    def advice(self) -> Iterator[tuple[str, str]]:
        """Yield each risk for the stored data, and how to remove it."""
        if numbers_of(self.version)[:2] < OLDEST:
            yield f"version {self.version} is older than 6.2", "update the server"
        for policy in sorted({node.policy for node in self.masters if node.policy != "noeviction"}):
            where = ", ".join(node.name for node in self.masters if node.policy == policy)
            yield (f"maxmemory-policy {policy} may remove leases, sessions and limits when memory is full: {where}",
                   "set maxmemory-policy noeviction; all keys of PumpWatch expire by themselves")
        if full := [node.name for node in self.masters if node.limit_bytes and node.used_bytes > 0.9 * node.limit_bytes]:
            yield f"more than 90 % of maxmemory is used: {', '.join(full)}", "raise maxmemory"
        if lost := [node.name for node in self.masters if not node.persists]:
            yield (f"nothing is written to the disk: {', '.join(lost)}; a restart forgets leases, sessions and recent listings",
                   "set appendonly yes")
        if alone := [node.name for node in self.masters if self.cluster and not node.replicas]:
            yield f"a master without a replica: {', '.join(alone)}", "add a replica; otherwise its slots are away when it fails"
        if self.cluster and len(self.masters) < 3:
            yield f"{len(self.masters)} masters cannot agree on a fail-over", "use three or more"


def read_facts(redis: RedisConnection) -> RedisFacts:
    """Return the facts of every master. Raises ConfigError for a wrong password, otherwise RedisUnavailable with the reason."""
    if not redis.connect(ASK_S):
        if "redis.password" in redis.trouble:
            raise ConfigError(f"redis: {redis.trouble}", "correct redis.username and redis.password")
        raise RedisUnavailable(f"redis: {redis.trouble}", "away",
                               "check redis.nodes; the servers may also be down at the moment")
    names = redis.masters

    def ask(client: Client) -> list[tuple[Mapping[str, Any], bool]]:
        nodes = [client.get_redis_connection(client.get_node(*name)) for name in names] if redis.is_cluster else [client]
        return [(info := node.info(), bool(info.get("aof_enabled")) or _saves(node)) for node in nodes]

    found = redis.call("describe", ask, ASK_S)
    return RedisFacts(redis.is_cluster, tuple(
        _node(f"{host}:{port}", *facts) for (host, port), facts in zip(names, found, strict=True)))


def _saves(node: Client) -> bool:
    """Return whether a node saves snapshots; True if it does not allow the question."""
    from redis.exceptions import ResponseError

    try:
        return any(node.config_get("save").values())
    except ResponseError:  # hosted services may forbid CONFIG
        return True


def _node(name: str, info: Mapping[str, Any], persists: bool) -> NodeFacts:
    keys = sum(int(value["keys"]) for key, value in info.items() if key.startswith("db") and isinstance(value, Mapping))
    return NodeFacts(
        name, str(info["redis_version"]), int(info["used_memory"]), int(info.get("maxmemory", 0)),
        str(info.get("maxmemory_policy", "noeviction")), persists, int(info.get("connected_slaves", 0)), keys,
        int(info.get("keyspace_hits", 0)), int(info.get("keyspace_misses", 0)), int(info.get("evicted_keys", 0)))


def numbers_of(version: str) -> tuple[int, ...]:
    """Return the numbers of a version, for comparisons."""
    return tuple(int(part) for part in version.split(".") if part.isdigit())
