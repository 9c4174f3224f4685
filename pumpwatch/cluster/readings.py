"""The shards that are read here, and since when each delivers."""

from __future__ import annotations

from collections.abc import Iterator

from pumpwatch.clock import Clock
from pumpwatch.cluster.reader import ShardReader
from pumpwatch.cluster.redis_time import RedisTime
from pumpwatch.cluster.shards import Shard


class Readings:
    """Passes shards to the reader and remembers them. Times are of the monotonic clock unless their names say otherwise."""

    def __init__(self, reader: ShardReader, clock: Clock, time: RedisTime) -> None:
        self._reader, self._clock, self._time = reader, clock, time
        self._delivers_since: dict[Shard, float | None] = {}
        self._beside: set[Shard] = set()  # read while another member was known to read them too
        self._read_until_us: dict[Shard, int] = {}
        self._spare: dict[Shard, int] = {}

    def __contains__(self, shard: Shard) -> bool:
        return shard in self._delivers_since

    def __iter__(self) -> Iterator[Shard]:
        return iter(list(self._delivers_since))

    def refresh(self) -> None:
        """Update which shards deliver, and up to when each is durable."""
        now = self._clock.monotonic()
        for shard, since in self._delivers_since.items():
            if not self._reader.delivers(shard):
                self._delivers_since[shard] = None
            elif since is None:
                self._delivers_since[shard] = now
        self._read_until_us = {shard: self._time.at_least_us(self._reader.read_until_ns(shard)) for shard in self._delivers_since}

    def delivers(self, shard: Shard) -> bool:
        """Return whether a shard delivered at the last `refresh`."""
        return self._delivers_since.get(shard) is not None

    def read_until_us(self, shard: Shard) -> int:
        """Return Redis' time up to which everything of a shard is durable here or in a gap; 0 if unknown.

        It is unknown while the shard does not deliver; a successor then goes back to the last known time.
        """
        return self._read_until_us.get(shard, 0) if self.delivers(shard) else 0

    def delivers_since_us(self, shard: Shard) -> int:
        """Return Redis' time since which a shard delivers, never too early; 0 if it does not deliver."""
        since = self._delivers_since.get(shard)
        return self._time.at_most_us(since) if since is not None else 0

    def begin(self, shard: Shard, read_until_us: int) -> None:
        """Read a shard that nobody reads. read_until_us: the time up to which another member read it; 0: unknown."""
        since_us = self.delivers_since_us(shard)
        if since_us and (read_until_us >= since_us or (not read_until_us and shard not in self._beside)):
            return  # it has been read here since before the other member stopped
        self._beside.discard(shard)
        self._reader.read(shard, self._time.wall_ns(read_until_us), False)
        self._delivers_since.setdefault(shard, None)

    def begin_beside(self, shard: Shard) -> None:
        """Read a shard that another member reads too."""
        if shard not in self._delivers_since:
            self._delivers_since[shard] = None
            self._beside.add(shard)
            self._reader.read(shard, 0, True)

    def handed_over(self, shard: Shard) -> None:
        """Record that this member reads a shard now and missed nothing of it."""
        self._beside.discard(shard)

    def doubt(self, shard: Shard) -> None:
        """Count a shard as delivering only from the next `refresh` on, because earlier reading may have a gap."""
        if shard in self._delivers_since:
            self._delivers_since[shard] = None

    def spare_since_us(self, shard: Shard, now_us: int) -> int:
        """Return since when others should read a surplus shard, in Redis' time; the first call sets that to now_us."""
        return self._spare.setdefault(shard, now_us)

    def keep(self, shard: Shard) -> None:
        """Record that a shard is not surplus: it is to be read here."""
        self._spare.pop(shard, None)

    def leave(self, shard: Shard) -> None:
        """Stop reading a shard."""
        del self._delivers_since[shard]
        self._spare.pop(shard, None)
        self._beside.discard(shard)
        self._reader.leave(shard)
