"""Redis away, emptied, failed over, or cut off from one member: reading goes on, roles do not, and everybody finds back."""

from __future__ import annotations

import time

import gevent

from pumpwatch.cluster.shards import Shard
from tests.cluster.crew import LEASE_S, crew
from tests.cluster.relay import relay
from tests.redis.waiting import eventually, in_thread
from tests.redis_server import RedisNode, RedisNodes


def test_while_redis_is_away_everybody_goes_on_and_afterwards_has_the_same(redis_cluster: RedisNodes) -> None:
    with crew(",".join(redis_cluster.addresses)) as all_of:
        a, b = all_of.add("a"), all_of.add("b")
        all_of.settle(a, b)
        eventually(lambda: a.coordinator.roles | b.coordinator.roles == {"leader", "boards.0", "boards.1"}, "all roles are held")
        began, had = time.monotonic(), (a.held, b.held)
        calls = len(a.reader.calls), len(b.reader.calls)
        in_thread(redis_cluster.stop_all)
        eventually(lambda: a.coordinator.away and b.coordinator.away, "it is away for longer than a lease")
        eventually(lambda: not a.coordinator.roles | b.coordinator.roles, "nobody has a role")
        assert {member.coordinator.status()["state"] for member in (a, b)} <= {"away", "in"}
        in_thread(redis_cluster.start_all)
        eventually(lambda: {member.coordinator.status()["state"] for member in (a, b)} == {"in"}, "both are in again")
        gevent.sleep(2 * LEASE_S)
        assert (a.held, b.held) == had
        assert (len(a.reader.calls), len(b.reader.calls)) == calls
        assert all_of.holes(began, time.monotonic()) == []
        eventually(lambda: len(a.coordinator.roles | b.coordinator.roles) == 3, "all roles are held again")


def test_an_emptied_redis_gets_everything_again(redis_cluster: RedisNodes) -> None:
    with crew(",".join(redis_cluster.addresses)) as all_of:
        a, b = all_of.add("a"), all_of.add("b")
        all_of.settle(a, b)
        began, had, tokens = time.monotonic(), (a.held, b.held), a.coordinator._own.highest_token
        in_thread(redis_cluster.flush)
        eventually(lambda: a.coordinator._own.highest_token > tokens and len(a.coordinator.member_rows()) == 2, "both are in")
        gevent.sleep(2 * LEASE_S)
        assert (a.held, b.held) == had
        assert all_of.holes(began, time.monotonic()) == []


def test_a_fail_over_changes_nothing(redis_cluster: RedisNodes) -> None:
    with crew(",".join(redis_cluster.addresses)) as all_of:
        a, b = all_of.add("a"), all_of.add("b")
        all_of.settle(a, b)
        began, had, key = time.monotonic(), (a.held, b.held), "pumpwatch:{cluster:crew}:leases"
        old = in_thread(redis_cluster.master_of, key)
        in_thread(old.kill)
        in_thread(redis_cluster.wait_for_fail_over, key, old)
        answered = time.monotonic()
        eventually(lambda: all(member.coordinator._answered > answered for member in (a, b)), "both are answered again")
        gevent.sleep(2 * LEASE_S)
        assert (a.held, b.held) == had
        assert all_of.holes(began, time.monotonic()) == []


def test_a_member_that_is_cut_off_goes_on_reading_and_comes_back(single_redis: RedisNode) -> None:
    with relay(single_redis.port) as between, crew(single_redis.address) as all_of:
        a, b = all_of.add("a"), all_of.add("b", address=between.address)
        all_of.settle(a, b)
        began, had = time.monotonic(), b.held
        between.open.clear()
        eventually(lambda: a.held == frozenset(all_of.shards), "the other one reads everything")
        assert all(b.reader.delivers(shard) for shard in had)
        eventually(lambda: b.coordinator.status()["state"] == "away" and not b.coordinator.roles, "it knows that it is cut off")
        between.open.set()
        all_of.settle(a, b)
        assert b.stats.get("cluster_fenced_writes_total") >= len(had)
        assert all_of.holes(began, time.monotonic()) == []


def test_without_redis_at_the_start_a_member_reads_everything(single_redis: RedisNode) -> None:
    with relay(single_redis.port) as between, crew(single_redis.address) as all_of:
        between.open.clear()
        a = all_of.add("a", address=between.address, start=False)
        a.start(connect_s=0.1)
        assert not a.reader.calls
        eventually(lambda: all(a.reader.delivers(shard) for shard in all_of.shards), "it reads everything")
        began = time.monotonic()
        assert a.coordinator.status()["state"] == "alone"
        b = all_of.add("b")
        between.open.set()
        all_of.settle(a, b)
        assert all_of.holes(began, time.monotonic()) == []


def test_an_emptied_redis_learns_since_when_a_dead_member_reads_nothing(single_redis: RedisNode) -> None:
    with crew(single_redis.address) as all_of:
        a, b = all_of.add("a"), all_of.add("b")
        all_of.settle(a, b)
        gevent.sleep(LEASE_S)
        lost = b.held
        b.kill()
        died_ns = a.clock.now_ns()
        in_thread(single_redis.client.flushall)
        all_of.settle(a)
        since = {shard: since_ns for _, shard, since_ns, beside in a.reader.calls if not beside and since_ns}
        assert since.keys() == lost
        assert all(died_ns - 2 * LEASE_S * 1e9 < at_ns <= died_ns for at_ns in since.values())


def test_a_new_member_at_an_emptied_redis_learns_from_the_others_since_when_nobody_reads(single_redis: RedisNode) -> None:
    with crew(single_redis.address) as all_of:
        a, b = all_of.add("a"), all_of.add("b")
        all_of.settle(a, b)
        gevent.sleep(2 * LEASE_S)
        lost = b.held
        a.pause()  # so that the newcomer comes first
        b.kill()
        died_ns = a.clock.now_ns()
        in_thread(single_redis.client.flushall)
        c = all_of.add("c")
        a.go_on()

        def told() -> dict[Shard, int]:
            return {shard: since_ns for member in (a, c) for _, shard, since_ns, _ in member.reader.calls if since_ns}

        eventually(lambda: told().keys() >= lost, "whoever reads them is told")
        assert all(died_ns - 2 * LEASE_S * 1e9 < told()[shard] <= died_ns for shard in lost)
