"""Keeps one member in the cluster: agrees with the others on who reads which shard and who has which role."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pumpwatch.clock import Clock
from pumpwatch.cluster.facts import MemberFacts
from pumpwatch.cluster.reader import ShardReader
from pumpwatch.cluster.shards import Shard
from pumpwatch.config_cluster import ClusterConfig
from pumpwatch.redis.connection import RedisConnection
from pumpwatch.stats import Stats

OnRole = Callable[[str, bool], None]


class Coordinator:
    """One member of a cluster. `join`, then `run` in a greenlet, `leave` where there is time, `stop` at the end."""

    def __init__(self, redis: RedisConnection, prefix: str, config: ClusterConfig, facts: MemberFacts, venues: Sequence[str],
                 reader: ShardReader, clock: Clock, stats: Stats, on_role: OnRole | None = None) -> None:
        raise NotImplementedError

    def join(self) -> bool:
        """Enter the cluster; return False where Redis is away. Raises ConfigError where the members have other settings.

        It waits up to two leases for an earlier process of another folder that has the name of this member.
        """
        raise NotImplementedError

    def run(self) -> None:
        """Renew, read and hand over until `stop`. Where Redis never answered, it reads every shard after the time of a lease."""
        raise NotImplementedError

    def leave(self, timeout_s: float) -> bool:
        """Hand every shard over while still reading; return whether all were taken in time. `run` must be running."""
        raise NotImplementedError

    def stop(self) -> None:
        """End `run` and release every lease: others take what is left at once, as of the time up to which it was durable."""
        raise NotImplementedError

    @property
    def held(self) -> frozenset[Shard]:
        """Return the shards of which this member holds a lease. It may read others as well, while they are handed over."""
        raise NotImplementedError

    @property
    def roles(self) -> frozenset[str]:
        """Return the roles held now: `leader`, `boards.0`, `boards.1`. A role ends with its lease, even while nothing runs."""
        raise NotImplementedError

    @property
    def away(self) -> bool:
        """Return whether Redis has been away for longer than a lease."""
        raise NotImplementedError

    def write(self, role: str, key: str, value: bytes, ttl_s: float) -> bool:
        """Store a value under the cluster's tag, unless another member has had the role since; False, and counted, then."""
        raise NotImplementedError

    def member_rows(self) -> list[dict[str, Any]]:
        """Return a row for each member, as the last answer of Redis had them."""
        raise NotImplementedError

    def shard_rows(self) -> list[dict[str, Any]]:
        """Return a row for each slot of a shard."""
        raise NotImplementedError

    def status(self) -> dict[str, Any]:
        """Return the figures for status.json."""
        raise NotImplementedError
