"""The facts that a member publishes to the others, and the settings that all members must share."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from pumpwatch.config_cluster import ClusterConfig
from pumpwatch.errors import ConfigError

PROTOCOL = 1  # of the keys and scripts; members of two protocols do not work together


class MemberFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The facts of one member. instance: the same for every process on one data folder, and for no other.

    chosen: a mark of the symbols that its config chooses, by venue; None from a version that does not tell.
    """

    member: str  # its name
    host: str  # two replicas of a shard are on different hosts
    address: str  # members of one address share the budgets of the venues
    instance: str
    version: str
    pid: int = 0
    started_at_ns: int = 0
    page: str = ""
    chosen: dict[str, str] | None = None


class SharedSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of the first member, which every other member must share."""

    protocol: int = PROTOCOL
    shards_per_venue: int
    replicas: int
    venues: tuple[str, ...]

    def encoded(self) -> bytes:
        """Return the same text for the same settings."""
        return msgspec.json.encode(self, order="sorted")

    def differences(self, stored: bytes) -> list[str]:
        """Return a short text for each difference from the stored settings of the cluster."""
        try:
            theirs = msgspec.json.decode(stored, type=dict[str, object])
        except msgspec.DecodeError:
            return ["its settings cannot be read"]
        ours = msgspec.to_builtins(self)
        found = []
        for key in ours.keys() | theirs.keys():
            here, there = ours.get(key), theirs.get(key)
            if key == "venues" and isinstance(there, list):
                found += [f"{name} is read only here" for name in sorted(set(self.venues) - set(there))]
                found += [f"{name} is read only there" for name in sorted(set(there) - set(self.venues))]
            elif here != there:
                found.append(f"{key} is {here} here and {there} there")
        return sorted(found)


def settings_of(config: ClusterConfig, venues: Sequence[str]) -> SharedSettings:
    """Return the shared settings of a config."""
    return SharedSettings(shards_per_venue=config.shards_per_venue, replicas=config.replicas, venues=tuple(sorted(venues)))


def refusal(cluster: str, member: str, settings: SharedSettings, kind: str, theirs: bytes) -> ConfigError:
    """Return why a cluster rejects a member. kind: `name` if another member has the name; otherwise theirs are the settings."""
    if kind == "name":
        return ConfigError(f"cluster {cluster}: another collector is its member {member}",
                           "set cluster.member to another name in one of the two")
    return ConfigError(f"cluster {cluster} has other settings: {', '.join(settings.differences(theirs))}",
                       "give every member the same config; to change it, stop all members first")
