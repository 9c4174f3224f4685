"""Members join, leave, die, are paused and cut off; somebody always reads each shard, and only one has a role."""

from __future__ import annotations

import time

import gevent
import pytest

from pumpwatch.errors import EXIT_CONFIG, ConfigError
from tests.cluster.crew import LEASE_S, crew
from tests.redis.waiting import eventually, in_thread
from tests.redis_server import RedisNode, RedisNodes


def test_members_that_join_and_leave_move_shards_without_a_hole(redis_cluster: RedisNodes) -> None:
    with crew(",".join(redis_cluster.addresses)) as all_of:
        a = all_of.add("a")
        all_of.settle(a)
        began = time.monotonic()
        assert all(since == 0 and not beside for _, _, since, beside in a.reader.calls)
        b = all_of.add("b", shift_s=-4.0, version="2")
        all_of.settle(a, b)
        c = all_of.add("c", shift_s=7.0)
        all_of.settle(a, b, c)
        assert all(beside for call, _, _, beside in [*b.reader.calls, *c.reader.calls] if call == "read")
        assert {row["member"]: row["version"] for row in a.coordinator.member_rows()} == {"a": "1", "b": "2", "c": "1"}
        assert b.coordinator.leave(20.0)
        b.stop()
        all_of.settle(a, c)
        assert all_of.holes(began, time.monotonic()) == []
        assert a.stats.get("cluster_handovers_total") + c.stats.get("cluster_handovers_total") > 0


def test_a_killed_member_is_replaced_from_the_time_up_to_which_it_was_durable(single_redis: RedisNode) -> None:
    with crew(single_redis.address) as all_of:
        a, b = all_of.add("a", shift_s=3.0), all_of.add("b", shift_s=-20.0)
        all_of.settle(a, b)
        lost = b.held
        gevent.sleep(LEASE_S)
        b.kill()
        died_ns = a.clock.now_ns()
        all_of.settle(a)
        since = {shard: since_ns for _, shard, since_ns, beside in a.reader.calls if not beside and since_ns}
        assert since.keys() == lost
        # by the clock of the member that takes over, though that of the dead one was wrong by 23 s
        assert all(died_ns - 2 * LEASE_S * 1e9 < at_ns <= died_ns for at_ns in since.values())
        holes = all_of.holes(b.reader.times[min(lost)][0][0], time.monotonic())
        assert {shard for shard, _, _ in holes} == lost


def test_a_member_that_was_suspended_learns_that_it_lost_everything(single_redis: RedisNode) -> None:
    with crew(single_redis.address) as all_of:
        a, b = all_of.add("a"), all_of.add("b")
        all_of.settle(a, b)
        eventually(lambda: "leader" in a.coordinator.roles | b.coordinator.roles, "one leads")
        leader, other = (a, b) if "leader" in a.coordinator.roles else (b, a)
        leader.pause()
        assert leader.coordinator.write("leader", "note", b"mine", 60.0)
        eventually(lambda: "leader" in other.coordinator.roles, "the other one leads")
        assert leader.coordinator.roles == frozenset()  # though nothing has told it
        assert not leader.coordinator.write("leader", "note", b"late", 60.0)
        eventually(lambda: other.held == frozenset(all_of.shards), "the other one reads everything")
        leader.go_on()
        all_of.settle(a, b)
        assert leader.stats.get("cluster_fenced_writes_total") >= 3
        assert single_redis.client.get("pumpwatch:{cluster:crew}:note") == "mine"


def test_an_old_token_writes_nothing(single_redis: RedisNode) -> None:
    """A process that wakes between its check of the time and its write is stopped by the token."""
    with crew(single_redis.address) as all_of:
        a = all_of.add("a")
        eventually(lambda: "leader" in a.coordinator.roles, "it leads")
        a.pause()
        a.coordinator._own._leases["leader"].until = float("inf")  # as if no time had passed
        b = all_of.add("b")
        eventually(lambda: "leader" in b.coordinator.roles, "the other one leads")
        assert not a.coordinator.write("leader", "note", b"late", 60.0)
        assert a.stats.get("cluster_fenced_writes_total") == 1


def test_two_replicas_are_on_different_hosts(single_redis: RedisNode) -> None:
    with crew(single_redis.address, replicas=2) as all_of:
        a, b, c = all_of.add("a", host="x"), all_of.add("b", host="x"), all_of.add("c", host="y")
        eventually(lambda: c.held == frozenset(all_of.shards) and a.held | b.held == c.held and not a.held & b.held,
                   "each shard is read on both hosts")
        c.kill()
        all_of.settle(a, b, replicas=2)


def test_the_boards_are_asked_from_two_addresses(single_redis: RedisNode) -> None:
    with crew(single_redis.address) as all_of:
        a = all_of.add("a", place="x")
        eventually(lambda: a.coordinator.roles == {"leader", "boards.0", "boards.1"}, "one alone does everything")
        b = all_of.add("b", place="x")
        eventually(lambda: b.coordinator.roles == {"boards.1"}, "two share")
        c = all_of.add("c", place="y")
        eventually(lambda: c.coordinator.roles == {"boards.1"} and not b.coordinator.roles, "another address is better")
        assert ("boards.1", False) in a.roles
        c.kill()
        eventually(lambda: b.coordinator.roles == {"boards.1"}, "it has it again")


def test_a_member_with_other_settings_is_not_let_in(single_redis: RedisNode) -> None:
    with crew(single_redis.address) as all_of:
        all_of.add("a")
        with pytest.raises(ConfigError) as caught:
            all_of.add("b", shards_per_venue=3, venues=("one.spot", "three.spot"))
        assert caught.value.exit_code == EXIT_CONFIG
        assert caught.value.message == ("cluster crew has other settings: one.futures is read only there, shards_per_venue is 3"
                                        " here and 2 there, three.spot is read only here, two.spot is read only there")
        with pytest.raises(ConfigError, match="another collector is its member a"):
            all_of.add("a", instance="elsewhere")


def test_the_settings_go_with_the_last_member(single_redis: RedisNode) -> None:
    with crew(single_redis.address) as all_of:
        a = all_of.add("a")
        all_of.settle(a)
        a.kill()  # its time is waited for
        all_of.shards = all_of.shards[:3]
        b = all_of.add("b", shards_per_venue=1)
        eventually(lambda: len(b.held) == 3, "it reads the new shards")


def test_a_process_on_the_same_folder_takes_over_once_it_delivers(single_redis: RedisNode) -> None:
    with crew(single_redis.address) as all_of:
        old = all_of.add("a")
        all_of.settle(old)
        began = time.monotonic()
        new = all_of.add("a")
        eventually(lambda: all_of.settled(new) and not old.held, "the new process has everything")
        assert old.coordinator.status()["state"] == "superseded"
        old.stop()
        gevent.sleep(LEASE_S)
        assert all_of.settled(new)
        assert all_of.holes(began, time.monotonic()) == []


def test_a_hand_over_waits_for_a_reader_that_delivers(single_redis: RedisNode) -> None:
    with crew(single_redis.address) as all_of:
        a = all_of.add("a")
        all_of.settle(a)
        b = all_of.add("b", start=False)
        b.reader.works = False
        b.start()
        eventually(lambda: b.reader.calls, "it begins to read")
        gevent.sleep(LEASE_S)
        assert not b.held
        assert a.held == frozenset(all_of.shards)
        b.reader.works, a.reader.works = True, False  # and where the old reader has a trouble, the next one need not wait for it
        eventually(lambda: len(b.held) == 3, "it has its part")


def test_the_old_reader_dies_during_a_hand_over(single_redis: RedisNode) -> None:
    with crew(single_redis.address) as all_of:
        a = all_of.add("a")
        all_of.settle(a)
        gevent.sleep(2 * LEASE_S)
        b = all_of.add("b", start=False)
        b.reader.works = False
        b.start()
        began = eventually(lambda: [shard for call, shard, _, beside in b.reader.calls if beside], "it begins to read")
        a.kill()
        b.reader.works = True
        all_of.settle(b)
        for shard in began:  # first beside the other one, then since the time at which that one died
            calls = [(since > 0, beside) for _, known, since, beside in b.reader.calls if known == shard]
            assert calls == [(False, True), (True, False)]


def test_a_stopped_member_leaves_its_shards_at_once(single_redis: RedisNode) -> None:
    with crew(single_redis.address) as all_of:
        a, b = all_of.add("a"), all_of.add("b")
        all_of.settle(a, b)
        gevent.sleep(LEASE_S)
        b.stop()
        assert not b.coordinator.held
        assert in_thread(single_redis.client.hkeys, "pumpwatch:{cluster:crew}:members") == ["a"]
        all_of.settle(a)
