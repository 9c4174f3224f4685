"""The shards that are read here, and since when each delivers."""

from __future__ import annotations

from collections.abc import Iterator

from pumpwatch.clock import Clock
from pumpwatch.cluster.reader import ShardReader
from pumpwatch.cluster.redis_time import RedisTime
from pumpwatch.cluster.shards import Shard


class Readings:
    """Tells the reader what to read, and remembers it. Times are of the monotonic clock unless their names say otherwise."""

    def __init__(self, reader: ShardReader, clock: Clock, time: RedisTime) -> None:
        self._reader, self._clock, self._time = reader, clock, time
        self._delivers_since: dict[Shard, float | None] = {}
        self._beside: set[Shard] = set()  # read while another one was known to read it as well
        self._read_until_us: dict[Shard, int] = {}
        self._spare: dict[Shard, int] = {}

    def __contains__(self, shard: Shard) -> bool:
        return shard in self._delivers_since

    def __iter__(self) -> Iterator[Shard]:
        return iter(list(self._delivers_since))

    def look(self) -> None:
        """Ask the reader which shards deliver, and up to when what it read is durable."""
        now = self._clock.monotonic()
        for shard, since in self._delivers_since.items():
            if not self._reader.delivers(shard):
                self._delivers_since[shard] = None
            elif since is None:
                self._delivers_since[shard] = now
        self._read_until_us = {shard: self._time.at_least_us(self._reader.read_until_ns(shard)) for shard in self._delivers_since}

    def delivers(self, shard: Shard) -> bool:
        """Return whether a shard delivered when it was last looked at."""
        return self._delivers_since.get(shard) is not None

    def read_until_us(self, shard: Shard) -> int:
        """Return Redis' time up to which everything of a shard is durable here or in a gap; 0 where that is not known.

        It is not known while the shard does not deliver: who takes over then goes back to the last time at which it did.
        """
        return self._read_until_us.get(shard, 0) if self.delivers(shard) else 0

    def delivers_since_us(self, shard: Shard) -> int:
        """Return Redis' time since which a shard delivers, never too early; 0 where it does not."""
        since = self._delivers_since.get(shard)
        return self._time.at_most_us(since) if since is not None else 0

    def begin(self, shard: Shard, read_until_us: int) -> None:
        """Read a shard that nobody reads, since the time up to which another one did; 0: not known."""
        since_us = self.delivers_since_us(shard)
        if since_us and (read_until_us >= since_us or (not read_until_us and shard not in self._beside)):
            return  # it is read already, for longer than nobody else reads it
        self._beside.discard(shard)
        self._reader.read(shard, self._time.wall_ns(read_until_us), False)
        self._delivers_since.setdefault(shard, None)

    def begin_beside(self, shard: Shard) -> None:
        """Read a shard that another one reads as well."""
        if shard not in self._delivers_since:
            self._delivers_since[shard] = None
            self._beside.add(shard)
            self._reader.read(shard, 0, True)

    def handed_over(self, shard: Shard) -> None:
        """Note that this member reads a shard now, and nothing of it was missed."""
        self._beside.discard(shard)

    def doubt(self, shard: Shard) -> None:
        """Count a shard as delivering from the next look on: what was read before may have a hole."""
        if shard in self._delivers_since:
            self._delivers_since[shard] = None

    def spare_since_us(self, shard: Shard, now_us: int) -> int:
        """Return since when (Redis' time) others should read a shard that is read on here until they do: now, the first time."""
        return self._spare.setdefault(shard, now_us)

    def keep(self, shard: Shard) -> None:
        """Note that a shard is to be read here."""
        self._spare.pop(shard, None)

    def leave(self, shard: Shard) -> None:
        """Stop reading a shard."""
        del self._delivers_since[shard]
        self._spare.pop(shard, None)
        self._beside.discard(shard)
        self._reader.leave(shard)
