"""The cluster that this collector belongs to."""

from __future__ import annotations

from typing import Any

import msgspec

from pumpwatch.api.route import ApiCall, Route


class Cluster(msgspec.Struct):
    """This member, all members and all shards, as of the last beat in Redis. name: empty without a cluster."""

    name: str = ""
    member: str = ""
    state: str = ""
    roles: list[str] = []
    held: int = 0
    last_answer_s: float = 0.0
    members: list[dict[str, Any]] = []
    shards: list[dict[str, Any]] = []


def cluster(call: ApiCall) -> Cluster:
    """Return the state of the last beat, at most about a second late."""
    found = call.desk.figures().get("cluster") or {}
    return Cluster(**{key: found[key] for key in Cluster.__struct_fields__ if key in found})


ROUTES = (Route("/api/cluster", cluster, "The cluster: members, shards, roles", Cluster),)
