"""`check --connect` says how a config fits the living members of its cluster."""

from __future__ import annotations

import sys

import pytest

from pumpwatch.cluster.facts import settings_of
from pumpwatch.config import Config, ExchangeConfig, VenueConfig
from pumpwatch.config_cluster import ClusterConfig
from pumpwatch.config_redis import RedisConfig
from pumpwatch.findings import FAIL, OK
from pumpwatch.ops.cluster_check import cluster_findings
from pumpwatch.plugins import load_plugins
from tests.cluster.joined import joined
from tests.redis_server import RedisNode, free_port


def config_of(address: str, *, exchange: str = "", **venue: object) -> Config:
    exchanges = {exchange: ExchangeConfig(spot=VenueConfig(**venue))} if exchange else {}  # type: ignore[arg-type]
    return Config(redis=RedisConfig(nodes=[address]), cluster=ClusterConfig(name="x", member="me"), exchanges=exchanges)


def test_without_a_cluster_or_its_redis_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    plugins = load_plugins(Config())
    assert cluster_findings(Config(), plugins) == [] == cluster_findings(config_of(f"127.0.0.1:{free_port()}"), plugins)
    monkeypatch.setitem(sys.modules, "redis", None)
    assert cluster_findings(config_of("127.0.0.1:1"), plugins) == []


def test_members_with_other_settings_are_one_failure(single_redis: RedisNode) -> None:
    config = config_of(single_redis.address)
    plugins = load_plugins(config)
    venues = [venue.name for venue, _ in plugins.chosen(config)]
    (alone,) = cluster_findings(config, plugins)
    assert (alone.state, alone.detail) == (OK, "x: no other member lives")
    joined([single_redis.address], "b", settings_of(config.cluster, venues), chosen={})
    (same,) = cluster_findings(config, plugins)
    assert (same.state, same.detail) == (OK, "x: the same settings as b")
    exchange = venues[0].partition(".")[0]
    (other,) = cluster_findings(config_of(single_redis.address, exchange=exchange, symbols=["A"]), plugins)
    assert other.state == FAIL and f"other symbols of {exchange}.spot are chosen by b" in other.detail
    assert f"{venues[-1]} is read only there" in other.detail and "another cluster.name" in other.hint
