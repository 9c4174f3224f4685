"""The command `cluster`: members, shards and roles, read from Redis."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import click

from pumpwatch.commands.options import config_option, json_option
from pumpwatch.commands.output import print_json, print_line, print_message, print_table
from pumpwatch.commands.table import Column, Row

if TYPE_CHECKING:
    from pumpwatch.cluster.leases import View
    from pumpwatch.config import Config

WITHIN_S = 5.0
REDIS_HINT = "`pumpwatch check --connect` checks Redis; the collectors go on reading meanwhile"
MEMBERS = (Column("member"), Column("state"), Column("shards", right=True), Column("roles", wraps=True), Column("version"),
           Column("host", rank=2), Column("address", rank=3), Column("lease s", right=True, rank=1))
LEASES = (Column("venue"), Column("shard", right=True), Column("member"), Column("next", optional=True),
          Column("behind s", right=True), Column("lease s", right=True, rank=1), Column("token", right=True, rank=2))
VENUES = (Column("venue"), Column("read by", wraps=True))


@click.command()
@click.option("--leases", is_flag=True, help="Show each lease instead of a line for each venue.")
@json_option
@config_option
def cluster(leases: bool, as_json: bool, config: Config) -> int:
    """Show the members of the cluster and what each reads.

    The state is read from Redis, so this works on every host and without a running collector. Exit code 1 if there is not a
    member, or if nobody reads a part of a venue or has a role; 69 if Redis does not answer.

    \b
    Example: pumpwatch cluster -c pumpwatch.yaml
             pumpwatch cluster --leases
    """
    from pumpwatch.cluster.rows import member_rows, role_rows, shard_rows
    from pumpwatch.errors import EXIT_FOUND, EXIT_OK

    view = _read_state(config)
    members, shards, roles = member_rows(view), shard_rows(view), role_rows(view)
    if as_json:
        print_json([*({"kind": "member", **row} for row in members), *({"kind": "role", **row} for row in roles),
                    *({"kind": "shard", **row} for row in shards)])
    elif not members:
        print_line(f"cluster {config.cluster.name} has no members")
    else:
        _print(config.cluster.name, members, shards, leases)
    unread = [f"{row['venue']}/{row['shard']}" for row in shards if not row["member"] and not row["replica"]]
    free = [row["role"] for row in roles if not row["member"]]
    if members and (unread or free):
        print_message(*([f"nobody reads {', '.join(unread)}"] if unread else []),
                      *([f"nobody has the role {', '.join(free)}"] if free else []))
    return EXIT_OK if members and not unread and not free else EXIT_FOUND


def _read_state(config: Config) -> View:
    """Return the state in Redis. Raises UsageError without a cluster, ServiceUnavailable if Redis does not answer."""
    from pumpwatch.cluster.leases import Leases
    from pumpwatch.errors import ServiceUnavailable, UsageError
    from pumpwatch.redis.connection import RedisConnection

    if not config.cluster.name:
        raise UsageError("the config does not name a cluster: this collector runs alone",
                         "set `cluster.name`, see docs/cluster.md")
    redis = RedisConnection(config.redis, quiet=True)
    try:
        redis.connect(WITHIN_S)
        return Leases(redis, config.cluster.name, "", WITHIN_S * 5).view()
    except ServiceUnavailable as error:
        raise ServiceUnavailable(error.message, error.hint or REDIS_HINT) from error
    finally:
        redis.close()


def _print(name: str, members: Iterable[Mapping[str, Any]], shards: list[dict[str, Any]], leases: bool) -> None:
    print_table(MEMBERS, [(row["member"], row["state"], str(row["shards"]), ", ".join(row["roles"]), row["version"], row["host"],
                           row["address"], _known(row["expires_s"])) for row in members], f"cluster {name}")
    print_line("")
    if leases:
        print_table(LEASES, map(_lease, shards))
    else:
        print_table(VENUES, _by_venue(shards))


def _lease(row: Mapping[str, Any]) -> Row:
    return (row["venue"], str(row["shard"]), row["member"] or "nobody", row["next"], _known(row["behind_s"]),
            _known(row["expires_s"]), str(row["token"]))


def _by_venue(shards: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Return a row for each venue: its parts, each with the members that read it."""
    readers: dict[str, dict[int, list[str]]] = {}
    for row in shards:
        readers.setdefault(row["venue"], {}).setdefault(row["shard"], []).append(row["member"] or "nobody")
    return [(venue, "  ".join(f"{number}:{'+'.join(names)}" for number, names in parts.items()))
            for venue, parts in readers.items()]


def _known(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.1f}"
