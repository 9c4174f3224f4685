"""Shards and slots: a shard is the part of a venue's symbols that one member reads, a slot is the place of one reader."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pumpwatch.slicing import slice_of


class Shard(NamedTuple):
    """The symbols of a venue that `slice_of` gives this number."""

    venue: str  # such as `exchange.spot`
    number: int

    def __str__(self) -> str:
        return f"{self.venue}/{self.number}"


class ShardSlot(NamedTuple):
    """One reader of a shard. With two replicas a shard has the slots 0 and 1, which two members hold."""

    shard: Shard
    replica: int

    def __str__(self) -> str:
        return f"{self.shard}#{self.replica}"


def shards_of(venues: Sequence[str], per_venue: int) -> list[Shard]:
    """Return every shard of the venues, sorted."""
    return [Shard(venue, number) for venue in sorted(venues) for number in range(per_venue)]


def slots_of(shard: Shard, replicas: int) -> list[ShardSlot]:
    """Return the slots of a shard in order."""
    return [ShardSlot(shard, replica) for replica in range(replicas)]


def shard_of(venue: str, symbol: str, per_venue: int) -> Shard:
    """Return the shard of a symbol, which is the same on every host."""
    return Shard(venue, slice_of(symbol, per_venue))


def parse_slot(text: str) -> ShardSlot | None:
    """Parse the name of a slot; return None for the name of a role."""
    place, mark, replica = text.rpartition("#")
    venue, slash, number = place.rpartition("/")
    if not (mark and slash and number.isdecimal() and replica.isdecimal()):
        return None
    return ShardSlot(Shard(venue, int(number)), int(replica))
