"""The next steps of a member follow from the state alone."""

from __future__ import annotations

from pumpwatch.cluster.facts import MemberFacts
from pumpwatch.cluster.leases import LeaseRow, LeaseStep, MemberState, View
from pumpwatch.cluster.plan import weight
from pumpwatch.cluster.shards import Shard, ShardSlot
from pumpwatch.cluster.steps import covered, deputies, next_end_s, planned, steps_for, wanted_slot, wants_roles

S = 1_000_000
NOW = 1_900_000_000 * S
SHARD = Shard("one.spot", 0)
SLOT0, SLOT1 = ShardSlot(SHARD, 0), ShardSlot(SHARD, 1)


def member(name: str, *, left_s: float = 4.0, leaving: bool = False, address: str = "x") -> MemberState:
    facts = MemberFacts(member=name, host=name, address=address, instance=name, version="1")
    return MemberState(f"{name}@1", NOW + round(left_s * S), leaving, facts)


def lease(holder: str, *, left_s: float = 4.0, following: str = "") -> LeaseRow:
    return LeaseRow(holder, 5, NOW + round(left_s * S), 0, following, NOW + 4 * S)


def view(members: dict[str, MemberState], **leases: LeaseRow) -> View:
    named = {"first": str(SLOT0), "second": str(SLOT1), "leader": "leader", "board": "boards.0"}
    return View(NOW, b"", 0, members, {named[key]: row for key, row in leases.items()})


THREE = {name: member(name) for name in "abc"}


def test_the_dead_and_the_leaving_are_not_planned_with() -> None:
    shards = [Shard("one.spot", number) for number in range(6)]
    found = planned(view({"a": member("a"), "b": member("b", left_s=0), "c": member("c", leaving=True)}), shards, 1)
    assert set(found.values()) == {("a",)}
    assert set(planned(view({"c": member("c", leaving=True)}), shards, 1).values()) == {("c",)}


def test_a_reader_gets_a_free_slot_or_that_of_an_unplanned_member() -> None:
    readers = ("a", "b")
    assert wanted_slot(view(THREE), SHARD, readers, "b@1", 2) == SLOT1
    assert wanted_slot(view(THREE, first=lease("a@1")), SHARD, readers, "b@1", 2) == SLOT1
    assert wanted_slot(view(THREE, first=lease("c@1"), second=lease("a@1")), SHARD, readers, "b@1", 2) == SLOT0
    assert wanted_slot(view(THREE, first=lease("a@1"), second=lease("b@0")), SHARD, readers, "b@1", 2) == SLOT1
    assert wanted_slot(view(THREE, first=lease("d@1"), second=lease("c@1", following="b@1")), SHARD, readers, "b@1", 2) == SLOT1
    assert wanted_slot(view(THREE, first=lease("a@1"), second=lease("a@2")), SHARD, readers, "b@1", 2) is None


def test_a_held_slot_is_claimed_first_and_taken_once_it_delivers_here() -> None:
    name = str(SLOT0)
    held = view(THREE, first=lease("a@1"))
    assert steps_for(held, SLOT0, 0, may_take_free=True) == [LeaseStep("claim", name)]
    assert steps_for(held, SLOT0, NOW, may_take_free=True) == [LeaseStep("claim", name), LeaseStep("hand", name, NOW)]
    over = view(THREE, first=lease("a@1", left_s=0))
    assert steps_for(over, SLOT0, NOW, may_take_free=True) == [LeaseStep("free", name)]
    assert steps_for(over, SLOT0, NOW, may_take_free=False) == []


def test_a_holder_that_has_not_read_a_shard_until_now_does_not_cover_it() -> None:
    held = view(THREE, first=lease("a@1"))
    until_us = held.leases[str(SLOT0)].read_until_us
    assert covered(held, SHARD, "c@1", 1, until_us) and not covered(held, SHARD, "c@1", 1, until_us + 1)


def test_a_shard_is_covered_if_other_living_members_hold_every_slot() -> None:
    both = view(THREE, first=lease("a@1"), second=lease("b@1"))
    assert covered(both, SHARD, "c@1", 2)
    assert covered(both, SHARD, "a@0", 2)  # a later process of the same member has it
    assert not covered(both, SHARD, "a@1", 2)
    assert not covered(view(THREE, first=lease("a@1")), SHARD, "c@1", 2)
    assert not covered(view(THREE, first=lease("a@1"), second=lease("d@1")), SHARD, "c@1", 2)


def test_one_takes_the_roles_that_are_free_and_that_it_may_have() -> None:
    alone, two = {"a": member("a")}, {"a": member("a"), "b": member("b")}
    assert wants_roles(view(alone), "a", [], leaving=False) == (["leader", "boards.0", "boards.1"], [])
    assert wants_roles(view(two), "a", [], leaving=False) == (["leader", "boards.0"], [])
    assert wants_roles(view(two, leader=lease("a@1"), board=lease("a@1")), "b", [], leaving=False) == (["boards.1"], [])
    assert wants_roles(view(two, leader=lease("a@1")), "a", ["leader"], leaving=True) == ([], ["leader"])


def test_the_next_end_of_others_is_waited_for() -> None:
    found = view({"a": member("a", left_s=0.5), "b": member("b", left_s=3.0)}, first=lease("b@1", left_s=2.0))
    assert next_end_s(found, "a@1") == 2.0
    assert next_end_s(view({"a": member("a")}), "a@1") == float("inf")


def test_a_deputy_takes_a_slot_that_the_planned_reader_leaves_free() -> None:
    ranks = sorted("bc", key=lambda name: -weight(SHARD, name))
    plan = {SHARD: ("a",)}

    def slots(name: str, free_s: float, **leases: LeaseRow) -> list[ShardSlot]:
        return deputies(view(THREE, **leases), plan, name, 1, lambda slot: 0.0 if leases else free_s, 1.0)

    assert [slots(name, 1.6) for name in (*ranks, "a")] == [[SLOT0], [], []]
    assert [slots(name, 2.1) for name in ranks] == [[SLOT0], [SLOT0]]
    assert slots(ranks[0], 1.4) == []
    assert slots(ranks[0], 9.0, first=lease("a@1")) == []
    leaving = {**THREE, ranks[0]: member(ranks[0], leaving=True)}
    assert deputies(view(leaving), plan, ranks[0], 1, lambda slot: 9.0, 1.0) == []
