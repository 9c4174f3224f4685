"""Members and shards as rows for people and scripts, from the state in Redis alone."""

from __future__ import annotations

from typing import Any

import msgspec

from pumpwatch.cluster.facts import SharedSettings
from pumpwatch.cluster.leases import LeaseRow, View, name_of
from pumpwatch.cluster.redis_time import US_PER_S
from pumpwatch.cluster.roles import ROLES
from pumpwatch.cluster.shards import parse_slot, shards_of, slots_of

NS_PER_US = 1000


def member_rows(view: View) -> list[dict[str, Any]]:
    """Return a row for each member, sorted by name. A dead member stays until the next beat of another one."""
    found = []
    for name, row in sorted(view.members.items()):
        leases = [slot for slot in view.leases if (lease := view.lease(slot)) and name_of(lease.holder) == name]
        state = "dead" if row.expires_us <= view.now_us else "leaving" if row.leaving else "in"
        found.append({"member": name, "state": state, "host": row.facts.host, "address": row.facts.address,
                      "version": row.facts.version, "pid": row.facts.pid, "started_at_ns": row.facts.started_at_ns,
                      "page": row.facts.page, "shards": sum(1 for slot in leases if parse_slot(slot)),
                      "roles": [role for role in ROLES if role in leases], "expires_s": _seconds(row.expires_us - view.now_us)})
    return found


def shard_rows(view: View) -> list[dict[str, Any]]:
    """Return a row for each slot of each shard. behind_s: the age of the holder's durable data, None if unknown.

    The list is empty if this version cannot read the settings.
    """
    try:
        settings = msgspec.json.decode(view.settings, type=SharedSettings)
    except msgspec.DecodeError:
        return []
    return [{"venue": shard.venue, "shard": shard.number, "replica": slot.replica, **_lease(view, str(slot))}
            for shard in shards_of(settings.venues, settings.shards_per_venue) for slot in slots_of(shard, settings.replicas)]


def role_rows(view: View) -> list[dict[str, Any]]:
    """Return a row for each role."""
    return [{"role": role, **_lease(view, role)} for role in ROLES]


def _lease(view: View, slot: str) -> dict[str, Any]:
    known, lease = view.leases.get(slot), view.lease(slot)
    return {"member": name_of(lease.holder) if lease else "", "token": known.token if known else 0,
            "expires_s": _seconds(lease.expires_us - view.now_us) if lease else None,
            "read_until_ns": known.read_until_us * NS_PER_US if known else 0,
            "behind_s": _seconds(view.now_us - known.read_until_us) if known and known.read_until_us else None,
            "next": _next(view, lease)}


def _next(view: View, lease: LeaseRow | None) -> str:
    return name_of(lease.next) if lease and lease.next_until_us > view.now_us else ""


def _seconds(us: int) -> float:
    return round(us / US_PER_S, 1)
