"""Read the shards that the coordinator assigns, with this collector's feeds, and report up to when their trades are durable."""

from __future__ import annotations

import math
from collections import deque

from pumpwatch.app.parts import CollectorParts
from pumpwatch.clock import NS_PER_MS, NS_PER_S
from pumpwatch.cluster.shards import Shard, shard_of
from pumpwatch.feeds.venue import VenueFeeds
from pumpwatch.model import TradeBatch

SINK_BEHIND_S = 30.0  # trades count as durable once they are in every sink that lags by less than this
LONGEST_LAG_S = 60.0  # more means a wrong clock
READ_WITHIN_S = 0.25  # from the socket to the buffer of frames, and from the parser to the committer
STALL_S = 0.5  # a beat that is later than this means that the process may have stopped meanwhile
SPANS_KEPT_NS = 2 * 86_400 * NS_PER_S


class ShardFeeds:
    """The feeds of a collector as a ShardReader. A shard is a slice of its venue, with the same number."""

    def __init__(self, collector: CollectorParts) -> None:
        self._collector = collector
        self._count = collector.config.cluster.shards_per_venue
        self._batches: deque[tuple[int, int]] = deque()  # durable, maybe not in every sink yet: id, oldest time of arrival
        self._spans: dict[Shard, list[tuple[int, int]]] = {}  # when each was read here; the end is 0 while it is
        self._delivering: set[Shard] = set()
        self._heard: dict[Shard, int] = {}  # up to when each was certainly read, ns
        self._ended_ns = 0  # when reading ended, 0 before
        self._longest_s = collector.config.cluster.lease_s / 5 + STALL_S  # between two calls of read_until_ns
        self._last_call = (math.inf, 0)  # of read_until_ns: monotonic s, and ns UTC
        self._stall = (0, 0)  # the last time [from, to) in ns in which the process may have stopped

    def end_reading(self) -> None:
        """Record that nothing is read from now on; trades received until now count."""
        for shard in self._delivering:
            self.read_until_ns(shard)
        self._ended_ns = self._collector.clock.now_ns()

    def spans(self, venue: str, symbol: str) -> tuple[tuple[int, int], ...]:
        """Return the times [from_ns, to_ns) in which this run read a symbol's slice, for at least the last two days."""
        shard = shard_of(venue, symbol, self._count)
        now_ns = self._collector.clock.now_ns()
        return tuple((from_ns, to_ns or now_ns) for from_ns, to_ns in self._spans.get(shard, ()))

    def read(self, shard: Shard, since_ns: int, beside: bool) -> None:
        """Begin to read a shard, or update a shard that is read; see ShardReader."""
        if feeds := self._feeds_of(shard):
            feeds.read_slice(shard.number, since_ns, beside=beside)
            if not beside:  # gaps name the symbols that are not granted yet
                self._begin_span(shard, math.inf)

    def delivers(self, shard: Shard) -> bool:
        """Return whether every symbol of a shard is read here; at the end of reading, as it was then."""
        if self._ended_ns:
            return shard in self._delivering
        feeds = self._feeds_of(shard)
        if feeds is None or not feeds.delivers_slice(shard.number):
            self._delivering.discard(shard)
            return False
        if shard not in self._delivering:
            self._delivering.add(shard)
            self._begin_span(shard, feeds.slice_reader.read_since(shard.number))
        return True

    def leave(self, shard: Shard) -> None:
        """Stop reading a shard: another member reads it."""
        self._delivering.discard(shard)
        spans = self._spans.get(shard)
        if spans and not spans[-1][1]:
            spans[-1] = spans[-1][0], self._collector.clock.now_ns()
        if feeds := self._feeds_of(shard):
            feeds.leave_slice(shard.number)

    def _begin_span(self, shard: Shard, from_ns: float) -> None:
        now_ns = self._collector.clock.now_ns()
        spans = [span for span in self._spans.get(shard, ()) if not span[1] or span[1] > now_ns - SPANS_KEPT_NS]
        if not spans or spans[-1][1]:
            spans.append((int(from_ns) if from_ns < math.inf else now_ns, 0))
        self._spans[shard] = spans

    def _feeds_of(self, shard: Shard) -> VenueFeeds | None:
        return next((feeds for feeds in self._collector.venues if feeds.venue.name == shard.venue), None)

    def durable(self, batch_id: int, batch: TradeBatch) -> None:
        """Remember when the trades of a durable batch arrived, until every sink has them."""
        if self._collector.drains and len(batch):
            self._batches.append((batch_id, int(batch.received_at.min())))

    def read_until_ns(self, shard: Shard) -> int:
        """Return the trade timestamp (ns UTC) up to which every trade of a shard was read and is durable.

        Durable means stored in every sink, because other members may never see this journal. A sink that is away or lags by more
        than SINK_BEHIND_S is ignored, and the journal suffices. Trades that arrive after a stop of this process may have happened
        at any moment of the stop.
        """
        collector, feeds = self._collector, self._feeds_of(shard)
        self._record_stall()
        now_ns = collector.clock.now_ns() - int(READ_WITHIN_S * NS_PER_S)
        if self._ended_ns:
            now_ns = self._heard.get(shard, 0)
        elif feeds is not None:
            now_ns = self._heard[shard] = min(now_ns, feeds.slice_reader.heard_at_ns(shard.number))
        waiting = (now_ns, collector.ingest.oldest_waiting_ns(shard.venue) or now_ns,
                   collector.committer.oldest_waiting_ns or now_ns, self._oldest_unsent_ns() or now_ns)
        lag_ns = abs(collector.stats.get("lag_ms", venue=shard.venue)) * NS_PER_MS
        until_ns, (from_ns, to_ns) = min(waiting), self._stall
        until_ns = from_ns if from_ns < until_ns <= to_ns else until_ns
        return max(0, until_ns - int(min(lag_ns, LONGEST_LAG_S * NS_PER_S)))

    def _record_stall(self) -> None:
        now, now_ns = self._collector.clock.monotonic(), self._collector.clock.now_ns()
        if now - self._last_call[0] > self._longest_s:
            self._stall = self._last_call[1] - int(READ_WITHIN_S * NS_PER_S), now_ns
        self._last_call = now, now_ns

    def _oldest_unsent_ns(self) -> int:
        """Return when the oldest durable trade arrived that a sink has not yet; 0 if every sink has all or is ignored."""
        cursors = [drain.cursor for drain in self._collector.drains.values() if drain.state == "up"]
        old_ns = self._collector.clock.now_ns() - int(SINK_BEHIND_S * NS_PER_S)
        while self._batches and (not cursors or self._batches[0][0] <= min(cursors) or self._batches[0][1] < old_ns):
            self._batches.popleft()
        return self._batches[0][1] if self._batches else 0
