"""Members of the cluster x that are in Redis and do nothing."""

from __future__ import annotations

from typing import Any

from pumpwatch.cluster.facts import MemberFacts, SharedSettings
from pumpwatch.cluster.leases import Leases
from tests.redis.waiting import connected

SETTINGS = SharedSettings(shards_per_venue=4, replicas=1, venues=("a.spot", "b.spot"))


def joined(nodes: list[str], name: str, settings: SharedSettings = SETTINGS, lease_s: float = 60.0, prefix: str = "pumpwatch",
           **facts: Any) -> None:
    """Let a member be in the cluster."""
    redis = connected(nodes, prefix=prefix)
    leases = Leases(redis, "x", f"{name}@1", lease_s)
    leases.within_s = 20.0
    about = MemberFacts(member=name, host=name, address=name, instance=name, version="1", **facts)
    leases.beat(about, settings.encoded(), [], 0, first=True, leaving=False)
    redis.close()
