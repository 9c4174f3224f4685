"""The part of a collector that reads shards, as the coordinator sees it."""

from __future__ import annotations

from typing import Protocol

from pumpwatch.cluster.shards import Shard


class ShardReader(Protocol):
    """Reads the shards that it is given. Every method is called on the hub, returns at once, and may be repeated."""

    def read(self, shard: Shard, since_ns: int, beside: bool) -> None:
        """Begin to read a shard, or update since when nobody read it.

        beside: another member reads it until `delivers` has been true for a while, so nothing is unread, and since_ns is 0.
        Otherwise nobody reads it: it is unread from since_ns (0: unknown) until it is granted here. If a member dies during a
        hand-over, a second call follows without `beside`; the shard may be granted by then.
        """

    def delivers(self, shard: Shard) -> bool:
        """Return whether every symbol of a shard is granted on a connection here."""

    def leave(self, shard: Shard) -> None:
        """Stop reading a shard: another member reads it."""

    def read_until_ns(self, shard: Shard) -> int:
        """Return the time, by this machine's clock, up to which everything of a shard was read and is durable here."""
