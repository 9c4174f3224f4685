"""The states that a member has seen and remembers: an emptied Redis does not know them any more."""

from __future__ import annotations

from collections.abc import Sequence

from pumpwatch.cluster.leases import View
from pumpwatch.cluster.shards import Slot


class Seen:
    """By slot: up to when everything was durable, and since when nobody has held it."""

    def __init__(self, slots: Sequence[Slot]) -> None:
        self._slots = list(map(str, slots))
        self._read_until_us: dict[str, int] = {}
        self._free_since: dict[str, float] = {}
        self._begun: set[str] = set()  # taken though nobody said since when nobody reads it

    def learn(self, view: View, now: float) -> None:
        """Take in a state that came at a moment of the monotonic clock."""
        for name, lease in view.leases.items():
            self._read_until_us[name] = lease.read_until_us or self._read_until_us.get(name, 0)
        self._free_since = {name: self._free_since.get(name, now) for name in self._slots if view.lease(name) is None}

    def read_until_us(self, slot: str, told_us: int) -> int:
        """Return the time up to which a slot's shard was durable: as Redis tells it, else as it told it before; 0: never."""
        return told_us or self._read_until_us.get(slot, 0)

    def unknown_to_redis(self, view: View) -> dict[str, int]:
        """Return by slot what Redis does not know any more, and this member does."""
        return {name: us for name, us in self._read_until_us.items()
                if us and (name not in view.leases or not view.leases[name].read_until_us)}

    def began(self, slot: str, read_until_us: int) -> None:
        """Note that a slot was taken; one of which nothing is known may still be told of by others."""
        if not read_until_us:
            self._begun.add(slot)

    def waits(self, slot: str) -> bool:
        """Return whether others may still tell since when nobody read a slot."""
        return slot in self._begun

    def told(self, view: View, in_time: bool) -> dict[str, int]:
        """Return what others have told of the slots that wait; not in_time: nobody will tell more."""
        found = {name: row.read_until_us for name in self._begun if (row := view.leases.get(name)) and row.read_until_us}
        self._begun = self._begun - found.keys() if in_time else set()
        return found

    def free_s(self, slot: Slot, now: float) -> float:
        """Return for how long nobody has held a slot; 0 where somebody does."""
        return now - self._free_since.get(str(slot), now)

    def forget_free(self) -> None:
        """Begin to count anew: holders may have been cut off as this member was."""
        self._free_since = {}
