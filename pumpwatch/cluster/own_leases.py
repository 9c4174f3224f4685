"""The leases that this process holds by its own knowledge, without asking Redis."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pumpwatch.clock import Clock
from pumpwatch.cluster.leases import Held
from pumpwatch.cluster.roles import ROLES
from pumpwatch.cluster.shards import Shard, ShardSlot, parse_slot


@dataclass(slots=True)
class OwnLease:
    """A lease. until: its end by the monotonic clock, counted from before the request, so that Redis' end is later."""

    token: int
    until: float


class OwnLeases:
    """Tokens and ends of leases by slot, in the order in which they were taken."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._leases: dict[str, OwnLease] = {}
        self.highest_token = 0

    def __contains__(self, slot: str) -> bool:
        return slot in self._leases

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._leases))

    def add(self, slot: str, token: int, until: float) -> None:
        """Record a lease or its renewal."""
        self._leases[slot] = OwnLease(token, until)
        self.highest_token = max(self.highest_token, token)

    def drop(self, slot: str) -> None:
        """Forget a lease that was lost or given up."""
        self._leases.pop(slot, None)

    def ended(self, slot: str, at: float) -> bool:
        """Return whether the time of a lease was over at a moment of the monotonic clock."""
        return slot in self._leases and self._leases[slot].until <= at

    def as_held(self, read_until_us: Callable[[ShardSlot], int]) -> list[Held]:
        """Return the leases to be renewed or released."""
        found = []
        for name, own in self._leases.items():
            slot = parse_slot(name)
            found.append(Held(name, own.token, read_until_us(slot) if slot else 0))
        return found

    def slots(self) -> dict[Shard, ShardSlot]:
        """Return the slot of each held shard; a member holds at most one slot of a shard."""
        parsed = map(parse_slot, self._leases)
        return {slot.shard: slot for slot in parsed if slot}

    def roles(self) -> frozenset[str]:
        """Return the roles whose lease has not ended. Call it right before acting: after a suspension they may be gone."""
        now = self._clock.monotonic()
        return frozenset(role for role in ROLES if (own := self._leases.get(role)) and now < own.until)

    def token_of(self, role: str) -> int:
        """Return the token of a role that is held now, 0 without it."""
        return self._leases[role].token if role in self.roles() else 0

    def drop_ended_roles(self) -> list[str]:
        """Forget the roles whose time is over, and return them."""
        now = self._clock.monotonic()
        ended = [role for role in ROLES if role in self._leases and now >= self._leases[role].until]
        for role in ended:
            del self._leases[role]
        return ended

    def next_end(self) -> float:
        """Return when the first role ends by the monotonic clock, infinity without a role."""
        return min((self._leases[role].until for role in ROLES if role in self._leases), default=float("inf"))
