"""The part of a collector that reads shards, as the coordinator sees it."""

from __future__ import annotations

from typing import Protocol

from pumpwatch.cluster.shards import Shard


class ShardReader(Protocol):
    """Reads shards while it is told to. Every method is called on the hub, returns at once, and may be repeated."""

    def read(self, shard: Shard, since_ns: int, beside: bool) -> None:
        """Begin to read a shard, or learn more about one that is read.

        beside: another member reads it, and goes on until `delivers` has been true for a while: nothing is unread, and since_ns
        is 0. Else nobody reads it: it is unread from since_ns (0: not known) until it is granted here. Where a member dies during
        a hand-over, the call comes twice, first with `beside`; the shard may be granted by then.
        """

    def delivers(self, shard: Shard) -> bool:
        """Return whether every symbol of a shard is granted on a connection here."""

    def leave(self, shard: Shard) -> None:
        """Stop reading a shard: another member reads it."""

    def read_until_ns(self, shard: Shard) -> int:
        """Return the time, by this machine's clock, up to which everything of a shard was read and is durable here."""
