"""Computes the plan: which members read each shard. Every member computes the same plan.

Rendezvous hashing: each pair of a shard and a member has a weight that depends only on their names, and the heaviest pairs win
while the member has room. So few shards move when a member comes or goes. A last step moves single shards along chains if the
remaining room does not fit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import NamedTuple

from pumpwatch.cluster.shards import Shard

Plan = dict[Shard, tuple[str, ...]]


class ReaderCandidate(NamedTuple):
    """A member that may read. Two readers of a shard are on different hosts if possible."""

    name: str
    host: str


def plan(members: Iterable[ReaderCandidate], shards: Sequence[Shard], replicas: int) -> Plan:
    """Return the readers of each shard, the heaviest first; empty tuples without members.

    The order of the arguments does not matter. A member has at most ceil(shards * replicas / members) shards, unless too few
    hosts make that impossible. A shard has fewer readers than `replicas` only if there are fewer members.
    """
    known = sorted(set(members))
    wanted = min(replicas, len(known))
    if not known:
        return dict.fromkeys(shards, ())
    work = _Assignment(known, shards, -(-len(shards) * wanted // len(known)))
    for _, name, shard in sorted(((weight(shard, member.name), member.name, shard) for shard in shards for member in known),
                                 reverse=True):
        if work.load[name] < work.limit and len(work.readers[shard]) < wanted and work.fits(shard, name):
            work.add(shard, name)
    for shard in sorted(shards):
        while len(work.readers[shard]) < wanted:
            if not work.extend(shard, set()):
                work.add(shard, work.spare(shard))
    return {shard: tuple(sorted(names, key=lambda name: (weight(shard, name), name), reverse=True))
            for shard, names in work.readers.items()}


def weight(shard: Shard, member: str) -> int:
    """Return the weight of a pair, which is the same on every host."""
    return int.from_bytes(blake2b(f"{shard} {member}".encode(), digest_size=8).digest(), "big")


class _Assignment:
    """The readers of each shard while the plan is computed."""

    def __init__(self, members: Sequence[ReaderCandidate], shards: Sequence[Shard], limit: int) -> None:
        self.limit = limit
        self.host = {member.name: member.host for member in members}
        self.load = dict.fromkeys(self.host, 0)
        self.readers: dict[Shard, list[str]] = {shard: [] for shard in shards}

    def fits(self, shard: Shard, name: str) -> bool:
        """Return whether the shard has no reader on this member's host."""
        return self.host[name] not in {self.host[other] for other in self.readers[shard]}

    def add(self, shard: Shard, name: str) -> None:
        self.readers[shard].append(name)
        self.load[name] += 1

    def remove(self, shard: Shard, name: str) -> None:
        self.readers[shard].remove(name)
        self.load[name] -= 1

    def extend(self, shard: Shard, tried: set[str]) -> bool:
        """Give a shard one more reader within the limits, moving others along a chain; return False if no chain exists."""
        names = sorted((name for name in self.load if name not in tried and self.fits(shard, name)),
                       key=lambda name: (self.load[name] >= self.limit, -weight(shard, name)))
        for name in names:
            tried.add(name)
            if self.load[name] < self.limit:
                self.add(shard, name)
                return True
            for other in sorted(moved for moved, readers in self.readers.items() if name in readers):
                self.remove(other, name)
                if self.extend(other, tried):
                    self.add(shard, name)
                    return True
                self.add(other, name)
        return False

    def spare(self, shard: Shard) -> str:
        """Return the best reader beyond the limit: on another host if possible, with the fewest shards."""
        return min((name for name in self.load if name not in self.readers[shard]),
                   key=lambda name: (not self.fits(shard, name), self.load[name], -weight(shard, name)))
