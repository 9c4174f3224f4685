"""The plan is the same everywhere, balanced, moves little, and keeps replicas apart."""

from __future__ import annotations

import math
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from pumpwatch.cluster.plan import Plan, ReaderCandidate, plan
from pumpwatch.cluster.shards import Shard

NAMES = st.lists(st.integers(0, 30).map("member-{}".format), min_size=1, max_size=10, unique=True)
SHARDS = st.tuples(st.integers(1, 12), st.integers(1, 6)).map(
    lambda size: [Shard(f"venue{venue}.spot", number) for venue in range(size[0]) for number in range(size[1])])
ELEVEN = [Shard(f"venue{venue}.spot", number) for venue in range(11) for number in range(4)]


def apart(names: list[str]) -> list[ReaderCandidate]:
    """Return members that each have a host of their own."""
    return [ReaderCandidate(name, f"host-{name}") for name in names]


def loads(found: Plan) -> Counter[str]:
    return Counter(name for readers in found.values() for name in readers)


@settings(max_examples=60)
@given(NAMES, SHARDS, st.integers(1, 3), st.randoms(use_true_random=False))
def test_every_shard_has_its_readers_and_none_reads_more_than_its_part(names: list[str], shards: list[Shard], replicas: int,
                                                                       chance: object) -> None:
    found = plan(apart(names), shards, replicas)
    wanted = min(replicas, len(names))
    assert all(len(set(readers)) == len(readers) == wanted for readers in found.values())
    assert max(loads(found).values()) <= math.ceil(len(shards) * wanted / len(names))
    chance.shuffle(names)  # type: ignore[attr-defined]
    assert plan(apart(names), shards[::-1], replicas) == found


@settings(max_examples=60)
@given(NAMES, SHARDS, st.integers(1, 3))
def test_readers_of_a_shard_are_on_as_many_hosts_as_there_are(names: list[str], shards: list[Shard], replicas: int) -> None:
    members = [ReaderCandidate(name, f"host-{index % 3}") for index, name in enumerate(names)]
    host, hosts = dict(members), len({member.host for member in members})
    for readers in plan(members, shards, replicas).values():
        assert len(readers) == min(replicas, len(names))
        assert len({host[name] for name in readers}) == min(replicas, hosts)


def test_a_member_that_comes_or_goes_moves_little() -> None:
    """The least is what the newcomer gets; the equal shares of the others cost a part of it again."""
    for count in range(2, 10):
        names = [f"m{index}" for index in range(count)]
        before, after = plan(apart(names), ELEVEN, 1), plan(apart([*names, "newcomer"]), ELEVEN, 1)
        moved = sum(before[shard] != after[shard] for shard in ELEVEN)
        assert moved <= 2 * math.ceil(len(ELEVEN) / (count + 1)) + 1, (count, moved)
        kept = sum(1 for shard in ELEVEN if before[shard] == after[shard])
        assert kept >= len(ELEVEN) * (count - 1) / (count + 1) - 1


def test_without_members_shards_have_no_readers() -> None:
    assert plan([], ELEVEN[:2], 2) == {ELEVEN[0]: (), ELEVEN[1]: ()}


def test_one_host_of_three_members_reads_more_so_that_replicas_are_apart() -> None:
    found = plan([ReaderCandidate("a", "x"), ReaderCandidate("b", "x"), ReaderCandidate("c", "y")], ELEVEN, 2)
    assert loads(found)["c"] == len(ELEVEN)
    assert abs(loads(found)["a"] - loads(found)["b"]) <= len(ELEVEN) // 3
