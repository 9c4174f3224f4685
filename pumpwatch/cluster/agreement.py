"""The settings on which members of a cluster must agree, compared with those that Redis knows.

A member of other shards, replicas, venues or protocol is not let in. Other choices of symbols are named alone, so that a change
can go from member to member; meanwhile a symbol is unread where its reader does not choose it. Members with another prefix are
those of another cluster of the same name, so this one never hears of them.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.cluster.facts import SharedSettings
from pumpwatch.cluster.leases import Leases, View
from pumpwatch.config import VenueConfig
from pumpwatch.redis.connection import Client, RedisConnection

CLOCK_S = 2.0  # a clock that differs more from that of Redis is reported
WITHIN_S = 5.0
SCAN_S = 2.0  # for other prefixes on a single server: the other differences must be told all the same
KEYS = 1000  # most keys to look at in the cluster's slot, and in a step of a scan
MEMBERS = ":members"


class Agreement(NamedTuple):
    """Redis' answer to a member that wants to join. differences: in words. clock_s: how far this clock is ahead."""

    members: tuple[str, ...]  # the others that live
    differences: tuple[str, ...]
    clock_s: float

    def describe(self) -> str:
        """Return the differences in one line, empty without one."""
        return ", ".join(self.differences)


HINT = "give every member the same exchanges, shards_per_venue, replicas and redis.prefix, or set another cluster.name"
CLOCK_HINT = "synchronize the clocks by NTP: `timedatectl set-ntp true`"


def chosen_symbols(parts: Mapping[str, VenueConfig]) -> dict[str, str]:
    """Return a hash of the chosen symbols for each venue where the config does not choose all."""
    found = {}
    for name, part in parts.items():
        choice = [sorted({*part.symbols}), sorted({*part.excluded}), sorted({coin.strip().upper() for coin in part.coins})]
        if any(choice):
            found[name] = hashlib.blake2b(msgspec.json.encode(choice), digest_size=6).hexdigest()
    return found


def ask_agreement(redis: RedisConnection, cluster: str, member: str, settings: SharedSettings, chosen: Mapping[str, str],
                  clock: Clock) -> Agreement:
    """Compare settings with those of the living members. Raises RedisUnavailable."""
    began_ns = clock.now_ns()
    view = Leases(redis, cluster, "", WITHIN_S * 5).view()
    at_ns = (began_ns + clock.now_ns()) // 2
    others = {name: row.facts for name, row in view.living().items() if name != member}
    found = settings.differences(view.settings) if others and view.settings else []
    for venue in settings.venues:
        unlike = [name for name, facts in sorted(others.items())
                  if facts.chosen is not None and facts.chosen.get(venue, "") != chosen.get(venue, "")]
        if unlike:
            found.append(f"other symbols of {venue} are chosen by {', '.join(unlike)}")
    for prefix, names in sorted(_elsewhere(redis, cluster, view).items()):
        found.append(f"redis.prefix is {redis.prefix} here and {prefix} of {', '.join(names)}")
    return Agreement(tuple(sorted(others)), tuple(found), (at_ns - view.now_us * 1000) / NS_PER_S)


def _elsewhere(redis: RedisConnection, cluster: str, view: View) -> dict[str, list[str]]:
    """Return the living members of clusters of the same name with another prefix."""
    ending, own = f":{{cluster:{cluster}}}{MEMBERS}", f"{redis.prefix}:{{cluster:{cluster}}}{MEMBERS}"

    def ask(client: Client) -> dict[str, Any]:
        if redis.is_cluster:  # keys with one tag are in one slot
            slot, node = client.keyslot(own), client.get_node_from_key(own)
            keys = client.execute_command("CLUSTER GETKEYSINSLOT", slot, KEYS, target_nodes=node)
        else:
            keys = _scanned(client, f"*{ending}")
        names = [name for name in (key.decode("utf-8", "replace") if isinstance(key, bytes) else key for key in keys)
                 if name.endswith(ending) and name != own]
        return {name.removesuffix(ending): client.hgetall(name) for name in names}

    found = {}
    for prefix, rows in redis.call("cluster prefixes", ask, WITHIN_S).items():
        living = [name.decode() for name, row in rows.items() if _expires_us(row) > view.now_us]
        if living:
            found[prefix] = sorted(living)
    return found


def _scanned(client: Client, pattern: str) -> Iterator[bytes]:
    """Yield the matching keys that are found within SCAN_S; a server with millions of others would take longer."""
    until, cursor = time.monotonic() + SCAN_S, 0
    while True:
        cursor, keys = client.scan(cursor, match=pattern, count=KEYS)
        yield from keys
        if not cursor or time.monotonic() >= until:
            return


def _expires_us(row: bytes) -> int:
    parts = row.split(b" ", 3)
    return int(parts[2]) if len(parts) == 4 and parts[2].isdigit() else 0
