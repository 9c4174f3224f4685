"""The section `cluster`: several collectors that share the reading of the venues."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pumpwatch.config_errors import ConfigSource
from pumpwatch.config_section import Positive, PositiveInt, Section
from pumpwatch.errors import ConfigError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
LEAST_LEASE_S = 1.0


class ClusterConfig(Section):
    """The cluster that this collector belongs to. With an empty name it reads everything alone."""

    name: str = ""
    member: str = ""
    address: str = ""
    shards_per_venue: PositiveInt = 4
    replicas: PositiveInt = 1
    lease_s: Positive = 5.0


def check_cluster(cluster: ClusterConfig, nodes: Sequence[str], source: ConfigSource) -> None:
    """Raise ConfigError for a name that cannot be part of a Redis key, a cluster without Redis nodes, or a too short lease."""
    def wrong(key: str, problem: str, hint: str) -> ConfigError:
        return ConfigError(f"{source.at(key)}: {key}: {problem}", hint)

    for key in ("name", "member", "address"):
        value = getattr(cluster, key)
        if value and not NAME.fullmatch(value):
            raise wrong(f"cluster.{key}", f"{value!r} is not a name", "use letters, digits, `.`, `_` and `-`, at most 63")
    if cluster.name and not nodes:
        raise wrong("cluster.name", "a cluster needs Redis, and redis.nodes is empty",
                    "name its nodes: `redis: {nodes: [HOST:PORT]}`")
    if cluster.lease_s < LEAST_LEASE_S:
        raise wrong("cluster.lease_s", f"must be at least {LEAST_LEASE_S:g}", "a short stop of Redis would end every lease")
