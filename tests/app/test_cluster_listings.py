"""Listings of several collectors that work as one: who polls, who tells, and one archive of all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pumpwatch.app.cluster_listings import ClusterListings, spans_before
from pumpwatch.app.collector import Collector
from pumpwatch.cli import run
from pumpwatch.listing.listing_ledger import call_here
from pumpwatch.listing.manifest import read_manifest
from pumpwatch.redis.connection import RedisConnection
from pumpwatch.sim.process import SimProcess
from pumpwatch.store.coverage import Watched
from pumpwatch.store.ledger import Ledger
from tests.app.collector import CollectorProcess
from tests.app.unstarted import unstarted
from tests.listing.market import listing_of
from tests.redis.waiting import connected
from tests.redis_server import RedisNode

VENUES = ["binance.spot", "bybit.spot"]
COINS = ["KITE", "WREN", "LARK", "SWIFT"]


class Place:
    """A collector's place in a cluster, as a test sets it."""

    def __init__(self, redis: RedisConnection) -> None:
        self.redis, self.name, self.member = redis, "tests", "a"
        self.roles: set[str] = set()
        self.away = False
        self.others = ["b"]
        self.coordinator: Any = self
        self.callbacks: list[Any] = []

    def on_role(self, callback: Any) -> None:
        self.callbacks.append(callback)

    def member_rows(self) -> list[dict[str, Any]]:
        return [{"member": "a", "state": "in", "host": "h1", "roles": sorted(self.roles)},
                *({"member": name, "state": "dead" if name == "d" else "in", "host": "h2", "roles": []} for name in self.others)]

    def slice_spans(self, venue: str, symbol: str) -> tuple[tuple[int, int], ...]:
        return ((5, 9),)

    def give(self, *roles: str) -> None:
        self.roles = set(roles)
        for callback in self.callbacks:
            callback("leader", "leader" in roles)


@pytest.fixture
def place(single_redis: RedisNode) -> Iterator[Place]:
    redis = connected([single_redis.address])
    yield Place(redis)
    redis.close()


@pytest.fixture
def shared(place: Place, tmp_path: Path) -> Iterator[ClusterListings]:
    collector = unstarted(tmp_path)
    collector.supervisor = SimpleNamespace(spawn=lambda name, body: None)  # type: ignore[assignment]
    ledger = Ledger(tmp_path)
    yield ClusterListings(collector, place, ledger, ledger, call_here)  # type: ignore[arg-type]
    ledger.close()


def test_boards_are_polled_by_the_holders_of_a_role_and_by_all_while_redis_is_away(shared: ClusterListings, place: Place) -> None:
    assert not shared.polls()
    place.give("boards.1")
    assert not shared.polls()  # what the last holder has seen is not known yet
    shared.news.caught_up = True
    assert shared.polls()
    place.give("leader")
    assert not shared.polls()
    place.away = True
    assert shared.polls()


def test_the_leader_tells_and_the_last_leader_while_redis_is_away(shared: ClusterListings, place: Place) -> None:
    assert not shared.tells()
    place.away = True
    assert not shared.tells()  # another member was the leader, or may be
    place.away = False
    place.give("leader")
    assert shared.tells() and shared.leader() == "a"
    place.give()
    place.away = True
    assert shared.tells()
    place.away, shared._led = False, False  # Redis is back, and another member leads
    assert not shared.tells()
    place.away, place.others = True, ["d"]
    assert shared.tells() and shared.alive() == {"a"}  # nobody else is there


def test_the_symbols_that_earlier_runs_watched_count_up_to_their_last_stored_trade() -> None:
    notes = [Watched("x", "spot", 10, frozenset({"A", "B"})), Watched("x", "spot", 20, frozenset({"A"})),
             Watched("y", "spot", 5, frozenset({"B"})), Watched("x", "spot", 50, frozenset({"B"}))]
    assert spans_before(notes, ("x", "spot"), "A", 40) == [(10, 20), (20, 40)]
    assert spans_before(notes, ("x", "spot"), "B", 40) == [(10, 20)]
    assert spans_before(notes, ("x", "spot"), "B", 60) == [(10, 20), (50, 60)]
    assert spans_before([], ("x", "spot"), "B", 60) == []


def joined(folder: Path) -> Path | None:
    """Return the archive in which a collector has joined the parts of both."""
    return next((path for path in folder.glob("archive/*KITE_*Z") if (found := read_manifest(path)) is not None
                 and [row.state for row in found.members] == ["merged", "merged"]), None)


def test_a_drill_of_one_collector_opens_on_both_and_becomes_one_archive(single_redis: RedisNode, tmp_path: Path) -> None:
    with SimProcess(venues=VENUES, symbols=COINS, rate=100, tick_ms=40) as sim:
        pair = []
        for name in "ab":
            (tmp_path / name).mkdir()
            pair.append(CollectorProcess(
                sim, tmp_path / name, redis={"nodes": [single_redis.address]}, api={"listen": "off"},
                cluster={"name": "drill", "member": name, "address": name, "lease_s": 5.0},
                listing={"before_s": 1.0, "after_s": 2.0}))
        with pair[0] as one, pair[1] as other:
            for each in pair:
                each.wait_until(lambda figures: len(figures["cluster"].get("members", ())) == 2 and figures["cluster"]["held"]
                                and any("leader" in row["roles"] for row in figures["cluster"]["members"]))
            assert run(["listing", "fake", "KITE", "-c", str(other.config_file)]) == 0
            for each in pair:
                each.wait_for_log("window open coin=KITE")
            one.wait_until(lambda figures: any(joined(each.folder) for each in pair))  # the leader may change on a busy machine
            archive = next(path for each in pair if (path := joined(each.folder)))
    manifest = read_manifest(archive)
    assert manifest is not None and manifest.drill and manifest.trades == sum(row.trades for row in manifest.venues) > 0
    sights = json.loads((archive / "notice.json").read_text("utf-8"))["sights"]
    assert [row["member"] for row in sights] == ["b"]


def test_a_collector_that_is_alone_shares_nothing(collector: Collector) -> None:
    assert collector.cluster is None


def test_an_event_that_was_told_of_another_sight_is_not_told_of_this_one(shared: ClusterListings, place: Place) -> None:
    told: list[str] = []
    shared._collector.notifying.notifier = SimpleNamespace(mark_sent_elsewhere=told.append)  # type: ignore[assignment]
    first = replace(listing_of(), source="push", exchange="upbit")
    assert shared._patient.remember_listing(first) and not shared._patient.remember_listing(listing_of())
    shared._mark_sent_elsewhere("seen:upbit:6642:KITE")
    assert set(told) == {"seen:upbit:6642:KITE", "seen:push:6642:KITE"}
    shared._mark_sent_elsewhere("seen:upbit:other:KITE")
    assert told[2:] == ["seen:upbit:other:KITE"]
