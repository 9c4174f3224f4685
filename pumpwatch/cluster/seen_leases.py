"""Remembers the states of leases that this member has seen, for the case that Redis loses its data."""

from __future__ import annotations

from collections.abc import Sequence

from pumpwatch.cluster.leases import View
from pumpwatch.cluster.shards import ShardSlot


class SeenLeases:
    """For each slot: up to when it was durable, and since when nobody has held it."""

    def __init__(self, slots: Sequence[ShardSlot]) -> None:
        self._slots = list(map(str, slots))
        self._read_until_us: dict[str, int] = {}
        self._free_since: dict[str, float] = {}
        self._begun: set[str] = set()  # taken without knowing since when nobody reads them

    def learn(self, view: View, now: float) -> None:
        """Learn a state. now: monotonic seconds."""
        for name, lease in view.leases.items():
            self._read_until_us[name] = lease.read_until_us or self._read_until_us.get(name, 0)
        self._free_since = {name: self._free_since.get(name, now) for name in self._slots if view.lease(name) is None}

    def read_until_us(self, slot: str, stored_us: int) -> int:
        """Return the time up to which a slot's shard was durable: the one in Redis now, or else an earlier one; 0: unknown."""
        return stored_us or self._read_until_us.get(slot, 0)

    def unknown_to_redis(self, view: View) -> dict[str, int]:
        """Return by slot the times that this member knows and Redis does not know any more."""
        return {name: us for name, us in self._read_until_us.items()
                if us and (name not in view.leases or not view.leases[name].read_until_us)}

    def record_taken(self, slot: str, read_until_us: int) -> None:
        """Record that a slot was taken; if its time is unknown, other members may still report it."""
        if not read_until_us:
            self._begun.add(slot)

    def waits(self, slot: str) -> bool:
        """Return whether other members may still report since when nobody read a slot."""
        return slot in self._begun

    def reported(self, view: View, in_time: bool) -> dict[str, int]:
        """Return the times that others have reported for waiting slots; not in_time: stop waiting."""
        found = {name: row.read_until_us for name in self._begun if (row := view.leases.get(name)) and row.read_until_us}
        self._begun = self._begun - found.keys() if in_time else set()
        return found

    def free_s(self, slot: ShardSlot, now: float) -> float:
        """Return for how many seconds nobody has held a slot; 0 if it is held."""
        return now - self._free_since.get(str(slot), now)

    def forget_free(self) -> None:
        """Restart the times of free slots, because their holders may have been cut off like this member."""
        self._free_since = {}
