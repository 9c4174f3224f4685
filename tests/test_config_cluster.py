"""The section `cluster` is refused by its key where it cannot be."""

from __future__ import annotations

import pytest

from pumpwatch.config_cluster import ClusterConfig, check_cluster
from pumpwatch.config_errors import ConfigSource
from pumpwatch.errors import ConfigError

SOURCE = ConfigSource("config")


def test_a_collector_is_alone_by_default() -> None:
    check_cluster(ClusterConfig(), [], SOURCE)
    check_cluster(ClusterConfig(name="tokyo", member="a-1.example", address="10.0.0.1"), ["127.0.0.1:7101"], SOURCE)


@pytest.mark.parametrize(("cluster", "said"), [
    (ClusterConfig(name="tokyo"), "cluster.name: a cluster needs Redis, and redis.nodes is empty"),
    (ClusterConfig(name="{tokyo}"), "cluster.name: '{tokyo}' is not a name"),
    (ClusterConfig(member="a@b"), "cluster.member: 'a@b' is not a name"),
    (ClusterConfig(address="a b"), "cluster.address: 'a b' is not a name"),
    (ClusterConfig(lease_s=0.5), "cluster.lease_s: must be at least 1"),
])
def test_what_cannot_be_is_named_by_its_key(cluster: ClusterConfig, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_cluster(cluster, [], SOURCE)
    assert said in str(caught.value)
