"""A member that would share the symbols in another way is named before it does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pumpwatch.clock import Clock
from pumpwatch.cluster import agreement
from pumpwatch.cluster.agreement import ask_agreement, chosen_symbols
from pumpwatch.cluster.facts import SharedSettings
from pumpwatch.config import VenueConfig
from tests.cluster.crew import ShiftedClock
from tests.cluster.joined import SETTINGS, joined
from tests.redis.waiting import connected, patient
from tests.redis_server import RedisNode, RedisNodes


def asking(nodes: list[str], clock: Clock | None = None) -> Callable[..., Any]:
    def ask(chosen: dict[str, str] | None = None, settings: SharedSettings = SETTINGS, prefix: str = "pumpwatch") -> Any:
        redis = connected(nodes, prefix=prefix)
        try:
            return ask_agreement(redis, "x", "me", settings, chosen or {}, clock or Clock())
        finally:
            redis.close()

    return ask


def test_the_choice_of_symbols_is_the_same_in_any_order() -> None:
    one = chosen_symbols({"a.spot": VenueConfig(symbols=["B", "A"], coins=["pepe"]), "b.spot": VenueConfig(redundancy=2)})
    assert one == chosen_symbols({"a.spot": VenueConfig(symbols=["A", "B"], coins=["PEPE"])}) and one.keys() == {"a.spot"}
    assert one != chosen_symbols({"a.spot": VenueConfig(symbols=["A", "B"])})


def test_living_members_are_compared_and_each_difference_is_named(single_redis: RedisNode) -> None:
    nodes = [single_redis.address]
    ask = asking(nodes)
    assert ask()[:2] == ((), ())
    joined(nodes, "me", SharedSettings(shards_per_venue=9, replicas=1, venues=()))
    assert ask().differences == (), "settings of its own from before may change"
    single_redis.ask("FLUSHALL")
    joined(nodes, "b", chosen={"a.spot": "1"})
    joined(nodes, "c", chosen={})
    joined(nodes, "old")
    assert ask({"a.spot": "1"}).members == ("b", "c", "old")
    assert ask({"a.spot": "1"}).differences == ("other symbols of a.spot are chosen by c",)
    found = ask({}, SharedSettings(shards_per_venue=8, replicas=1, venues=("a.spot",)))
    assert found.describe() == ("b.spot is read only there, shards_per_venue is 8 here and 4 there,"
                                " other symbols of a.spot are chosen by b")


def test_another_prefix_is_found_on_one_server_and_on_a_cluster(single_redis: RedisNode, redis_cluster: RedisNodes) -> None:
    for nodes in ([single_redis.address], redis_cluster.addresses):
        joined(nodes, "b", prefix="other")
        assert asking(nodes)().differences == ("redis.prefix is pumpwatch here and other of b",)
        assert asking(nodes)(prefix="other").differences == ()
        redis = connected(nodes)
        patient(redis, lambda client: client.delete("other:{cluster:x}:members"))
        redis.close()
        assert asking(nodes)().differences == ()


def test_a_server_with_very_many_keys_is_asked_for_a_while_only(single_redis: RedisNode, monkeypatch: pytest.MonkeyPatch) -> None:
    joined([single_redis.address], "b", chosen={})
    single_redis.ask("EVAL", "for i = 1, 30000 do redis.call('SET', 'k' .. i, '') end", "0")

    def scans() -> int:
        return int(single_redis.ask("INFO", "commandstats").get("cmdstat_scan", {"calls": 0})["calls"])

    before = scans()
    monkeypatch.setattr(agreement, "SCAN_S", 0.0)
    assert asking([single_redis.address])({"a.spot": "1"}).differences == ("other symbols of a.spot are chosen by b",)
    assert scans() == before + 1


def test_a_clock_that_is_wrong_is_measured(single_redis: RedisNode) -> None:
    assert abs(asking([single_redis.address])().clock_s) < 2.0
    assert 28.0 < asking([single_redis.address], ShiftedClock(30.0))().clock_s < 32.0
