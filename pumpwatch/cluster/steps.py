"""Computes the next steps of a member from the state in Redis, in pure functions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from pumpwatch.cluster.leases import LeaseStep, View, name_of
from pumpwatch.cluster.plan import Plan, ReaderCandidate, plan, weight
from pumpwatch.cluster.roles import ROLES, may_have
from pumpwatch.cluster.shards import Shard, ShardSlot, slots_of

DEPUTY_BEATS = 1.5  # a planned member has this long to take a free slot


def planned(view: View, shards: Sequence[Shard], replicas: int) -> Plan:
    """Return the plan for the living members, without those that are leaving, unless all are leaving."""
    living = view.living()
    staying = [name for name, row in living.items() if not row.leaving]
    return plan([ReaderCandidate(name, living[name].facts.host) for name in staying or living], shards, replicas)


def wanted_slot(view: View, shard: Shard, readers: Sequence[str], id: str, replicas: int) -> ShardSlot | None:
    """Return the slot that a planned reader without a slot should get: a free one, or else that of a member not planned.

    It takes over the slot of an earlier process of the same member.
    """
    slots = slots_of(shard, replicas)
    leases = {slot: view.lease(str(slot)) for slot in slots}
    free = [slot for slot in slots if leases[slot] is None]
    name = name_of(id)
    if free:  # two readers that see the same state choose different slots
        return free[readers.index(name) % len(free)]
    own = [slot for slot in slots if (lease := leases[slot]) and name_of(lease.holder) == name]
    others = [slot for slot in slots if (lease := leases[slot]) and name_of(lease.holder) not in readers]
    begun = [slot for slot in others if (lease := leases[slot]) and lease.next == id]
    return next(iter(own or begun or others), None)


def steps_for(view: View, slot: ShardSlot, delivers_since_us: int, *, may_take_free: bool) -> list[LeaseStep]:
    """Return the steps to get a slot: take it if it is free, otherwise claim it and take it after reading it for long enough."""
    name = str(slot)
    if view.lease(name) is None:
        return [LeaseStep("free", name)] if may_take_free else []
    steps = [LeaseStep("claim", name)]
    if delivers_since_us:
        steps.append(LeaseStep("hand", name, delivers_since_us))
    return steps


def deputies(view: View, plan: Plan, name: str, replicas: int, free_s: Callable[[ShardSlot], float],
             beat_s: float) -> list[ShardSlot]:
    """Return the slots that a member should take although it is not planned, because the planned members do not take them.

    These may be dead without being known as dead. The heavier a deputy, the shorter it waits, so that one after another tries.
    """
    staying = [member for member, row in view.living().items() if not row.leaving]
    found = []
    for shard, readers in plan.items():
        slots = slots_of(shard, replicas)
        holders = {name_of(lease.holder) for slot in slots if (lease := view.lease(str(slot)))}
        others = sorted(set(staying) - set(readers) - holders, key=lambda member: -weight(shard, member))
        if name in others:
            patience_s = beat_s * (DEPUTY_BEATS + others.index(name) / 2)
            found += [slot for slot in slots if free_s(slot) >= patience_s][:1]
    return found


def covered(view: View, shard: Shard, id: str, replicas: int, since_us: int = 0) -> bool:
    """Return whether living members other than this process hold every slot of a shard and have read it up to `since_us`.

    A holder that does not deliver yet, because it has just taken a free slot, does not count.
    """
    living = view.living()
    leases = [view.lease(str(slot)) for slot in slots_of(shard, replicas)]
    return all(lease and lease.holder != id and name_of(lease.holder) in living and lease.read_until_us >= since_us
               for lease in leases)


def wants_roles(view: View, name: str, held: Collection[str], *, leaving: bool) -> tuple[list[str], list[str]]:
    """Return the roles that a member should try to take, and those that it should give up."""
    addresses = {member: row.facts.address for member, row in view.living().items() if not row.leaving}
    holders = {role: name_of(lease.holder) for role in ROLES if (lease := view.lease(role))}
    take: list[str] = []
    give: list[str] = []
    for role in ROLES:
        may = not leaving and may_have(role, name, addresses, lambda asked: holders.get(asked, ""))
        if role in held and not may:
            give.append(role)
        elif role not in held and may and role not in holders:
            take.append(role)
            holders[role] = name  # so that it takes both roles of the boards only if it may
    return take, give


def next_end_s(view: View, id: str) -> float:
    """Return the seconds until the next membership or lease of another member ends; infinity if there is none."""
    ends = [row.expires_us for row in view.living().values() if row.id != id]
    ends += [lease.expires_us for name in view.leases if (lease := view.lease(name)) and lease.holder != id]
    return min(((end - view.now_us) / 1_000_000 for end in ends), default=float("inf"))
