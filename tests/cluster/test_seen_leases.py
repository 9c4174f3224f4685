"""A member remembers what Redis may forget."""

from __future__ import annotations

from pumpwatch.cluster.leases import LeaseRow, View
from pumpwatch.cluster.seen_leases import SeenLeases
from pumpwatch.cluster.shards import Shard, ShardSlot

SLOT = ShardSlot(Shard("one.spot", 0), 0)


def view(**lease: LeaseRow) -> View:
    return View(1000, b"", 0, {}, {str(SLOT): row for row in lease.values()})


def test_an_emptied_redis_does_not_make_a_member_forget_up_to_when_others_read() -> None:
    seen = SeenLeases([SLOT])
    assert seen.read_until_us(str(SLOT), 0) == 0
    seen.learn(view(held=LeaseRow("a@1", 5, 2000, 700, "", 0)), 1.0)
    seen.learn(view(), 2.0)
    assert seen.read_until_us(str(SLOT), 0) == 700
    seen.learn(view(held=LeaseRow("b@1", 6, 2000, 0, "", 0)), 3.0)  # who took it has nothing yet
    assert seen.read_until_us(str(SLOT), 0) == 700
    assert seen.read_until_us(str(SLOT), 600) == 600  # Redis went back to an older state: the earlier time is the safe one


def test_the_time_without_a_holder_of_a_slot_is_counted() -> None:
    seen = SeenLeases([SLOT])
    seen.learn(view(ended=LeaseRow("a@1", 5, 1000, 700, "", 0)), 10.0)
    seen.learn(view(), 12.0)
    assert seen.free_s(SLOT, 13.0) == 3.0
    seen.forget_free()
    assert seen.free_s(SLOT, 13.0) == 0.0
    seen.learn(view(held=LeaseRow("a@1", 5, 1001, 700, "", 0)), 14.0)
    assert seen.free_s(SLOT, 20.0) == 0.0


def test_a_time_that_redis_lost_is_reported_to_it_and_to_the_new_holder() -> None:
    old, new = SeenLeases([SLOT]), SeenLeases([SLOT])
    old.learn(view(held=LeaseRow("a@1", 5, 2000, 700, "", 0)), 1.0)
    assert old.unknown_to_redis(view()) == {str(SLOT): 700}
    assert old.unknown_to_redis(view(held=LeaseRow("b@1", 6, 2000, 0, "", 0))) == {str(SLOT): 700}
    assert old.unknown_to_redis(view(held=LeaseRow("a@1", 5, 2000, 600, "", 0))) == {}
    new.record_taken(str(SLOT), 0)
    assert new.waits(str(SLOT))
    assert new.reported(view(), in_time=True) == {}
    assert new.reported(view(held=LeaseRow("b@1", 6, 2000, 700, "", 0)), in_time=True) == {str(SLOT): 700}
    assert not new.waits(str(SLOT))
    new.record_taken(str(SLOT), 0)
    assert new.reported(view(), in_time=False) == {}
    assert not new.waits(str(SLOT))
