"""A process knows by itself when a role of it is over."""

from __future__ import annotations

from pumpwatch.clock import FakeClock
from pumpwatch.cluster.leases import Held
from pumpwatch.cluster.own_leases import OwnLeases
from pumpwatch.cluster.shards import Shard, ShardSlot


def test_a_role_ends_with_its_time_and_a_shard_does_not() -> None:
    clock = FakeClock()
    own = OwnLeases(clock)
    own.add("leader", 7, clock.monotonic() + 5)
    own.add("one.spot/1#0", 8, clock.monotonic() + 5)
    assert own.roles() == {"leader"}
    assert own.token_of("leader") == 7
    assert own.next_end() == clock.monotonic() + 5
    assert not own.ended("leader", clock.monotonic() + 4.9)
    assert own.ended("leader", clock.monotonic() + 5)
    clock.advance(5)
    assert (own.roles(), own.token_of("leader")) == (frozenset(), 0)
    assert own.drop_ended_roles() == ["leader"]
    assert own.next_end() == float("inf")
    assert own.slots() == {Shard("one.spot", 1): ShardSlot(Shard("one.spot", 1), 0)}


def test_a_renewal_reports_up_to_when_a_shard_is_durable() -> None:
    own = OwnLeases(FakeClock())
    own.add("leader", 7, 0.0)
    own.add("one.spot/1#0", 9, 0.0)
    own.drop("two.spot/1#0")
    assert own.as_held(lambda slot: 100 + slot.shard.number) == [Held("leader", 7, 0), Held("one.spot/1#0", 9, 101)]
    own.drop("one.spot/1#0")
    assert list(own) == ["leader"]
    assert "one.spot/1#0" not in own
    assert own.highest_token == 9  # the next token must be higher all the same
