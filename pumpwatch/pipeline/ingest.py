"""The pipeline's one greenlet: takes every venue's frames, parses, drops doubles, notes gaps, hands on a batch.

It turns every `tick_ms`, or as soon as `tick_frames` wait. All venues of a turn become one batch: what follows works on
columns, and is cheaper the longer they are.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from gevent.event import Event

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_MS, Clock
from pumpwatch.model import Control, Gap, IdKind, TradeBatch, Venue
from pumpwatch.net.connection import Connection
from pumpwatch.net.frames import FrameBuffer, Frames
from pumpwatch.pipeline.dedupe import Dedupe
from pumpwatch.pipeline.occurrence import Occurrences
from pumpwatch.pipeline.parse import Parsed, VenueParser
from pumpwatch.pipeline.repeats import Repeats
from pumpwatch.records import KEPT_BYTES, Quarantined, Records
from pumpwatch.stats import Stats
from pumpwatch.supervisor import guarded

log = logging.getLogger(__name__)

GROWING_KEPT = 10_000  # gaps
TOLD_EACH_S = 60.0
SHOWN_BYTES = 100  # of a frame in the log

Put = Callable[[TradeBatch | None, Records], None]


@dataclass(slots=True)
class Told:
    """When a venue's quarantined frames were logged, how many there were by then, and the latest one."""

    latest: Quarantined
    at: float = -math.inf
    count: float = 0


class Ingest:
    """Frames in, one clean batch a turn out. `run` is the body of a supervised greenlet."""

    def __init__(self, catalogue: Catalogue, clock: Clock, stats: Stats, tick_ms: float, tick_frames: int, put: Put) -> None:
        self._catalogue, self._clock, self._stats, self._put = catalogue, clock, stats, put
        self._tick_s, self._tick_frames = tick_ms / 1000, tick_frames
        self._due = Event()
        self._sources: list[tuple[FrameBuffer, VenueParser]] = []
        self._kinds: dict[tuple[str, str], IdKind] = {}
        self._records = Records()
        self._stopped = False
        self._said: set[tuple[str, str]] = set()  # failures that were logged
        self._told: dict[str, Told] = {}  # by venue
        self._growing: dict[tuple[str, str, str, int], None] = {}  # gaps that were counted, and may be told of again
        self.occurrences = Occurrences(catalogue, {})
        self.dedupe = Dedupe(catalogue, lambda *venue: self._kinds.get(venue, IdKind.NONE))
        self._repeats: dict[str, Repeats] = {}  # by venue

    def take_up(self, last: Mapping[tuple[str, str, str], tuple[int, int]]) -> None:
        """Go on where an earlier run ended: (exchange, market_type, symbol) -> (last id, its time in ns)."""
        self.dedupe.take_up(last)
        self.occurrences = Occurrences(self._catalogue, last)

    def add_venue(self, venue: Venue) -> FrameBuffer:
        """Return the buffer into which this venue's connections read."""
        self._kinds[venue.exchange, venue.market_type] = venue.id_kind
        buffer = FrameBuffer()
        parser = VenueParser(venue, self._catalogue, self._clock, self._stats, _hand_on)
        self._sources.append((buffer, parser))
        if venue.repeats_last:
            self._repeats[venue.name] = Repeats(self.dedupe.last_ids)
        return buffer

    def record(self, records: Records) -> None:
        """Take records of others (feeds) along with the next batch."""
        self._records.extend(records)
        for gap in records.gaps:
            key = (gap.exchange, gap.market_type, gap.symbol, gap.from_ns)
            if key not in self._growing:
                self._count(gap)
                self._growing[key] = None
                if len(self._growing) > GROWING_KEPT:
                    del self._growing[next(iter(self._growing))]

    def _count(self, gap: Gap) -> None:
        self._stats.add("gaps_total", venue=f"{gap.exchange}.{gap.market_type}", state=gap.state)

    def run(self) -> None:
        """Turn until stopped."""
        while not self._stopped:
            started = self._clock.monotonic()
            self.turn()
            self._due.clear()
            self._due.wait(max(0.0001, self._tick_s - (self._clock.monotonic() - started)))

    def stop(self) -> None:
        """End `run` at its next turn."""
        self._stopped = True
        self._due.set()

    def hurry(self) -> None:
        """Turn at once when many frames wait; the sweep calls it each time it has read."""
        if sum(len(buffer.stops) for buffer, _ in self._sources) >= self._tick_frames:
            self._due.set()

    def turn(self) -> None:
        """Take what is there and hand it on; nothing is left behind."""
        parsed: list[Parsed] = []
        for buffer, parser in self._sources:
            frames = buffer.take()
            if frames is not None:
                guarded(partial(self._read, frames, parser, parsed), partial(self._unread, frames, parser))
        records, self._records = self._records, Records()
        for _, parser in self._sources:
            if parser.quarantine:
                told = self._told.setdefault(parser.venue.name, Told(parser.quarantine[-1]))
                told.latest = parser.quarantine[-1]
                self._tell(parser.venue.name, told)
                records.quarantine += parser.quarantine
                parser.quarantine = []
            records.gaps += parser.not_kept()
        clean: list[TradeBatch] = []
        if parsed:
            guarded(lambda: clean.append(self._clean(parsed, records)), partial(self._unclean, parsed, records))
        batch = clean[0] if clean else None
        if batch is not None or records:
            self._put(batch, records)

    def _read(self, frames: Frames, parser: VenueParser, into: list[Parsed]) -> None:
        """Add the trades of one venue, and note which of its connections they came from."""
        name = parser.venue.name
        self._stats.add("frames_total", len(frames), venue=name)
        parsed = [one for one in parser.parse(frames) if len(one.batch)]
        if parsed and parser.venue.id_kind == IdKind.NONE:
            parsed = [self._number(one) for one in parsed]
        elif parser.venue.repeats_last:
            parsed = [self._without_history(one, self._repeats[name]) for one in parsed]
        count, times = 0, set[int]()
        for one in parsed:
            count += len(one.batch)
            live = one.batch if one.past is None else one.batch.take(~one.past)  # history tells neither life nor lag
            if len(live):
                received = live.received_at  # equal in all rows of a read, so that the last of each is enough
                times.update(received[:-1][received[1:] != received[:-1]].tolist(), received[-1:].tolist())
                parser.lag.take(received - live.timestamp)
        if count:
            self._stats.add("trades_total", count, venue=name)
        if times:
            for at_ns, connection in zip(frames.run_times, frames.connections, strict=True):
                if at_ns in times:
                    connection.traded_at_ns = at_ns
            self._stats.set("lag_ms", parser.lag.ns / NS_PER_MS, venue=name)
        into += parsed

    def _unread(self, frames: Frames, parser: VenueParser, error: Exception) -> None:
        """Record that the frames of a venue could not be read, for a reason that lies in its plugin, or in us."""
        venue, reason = parser.venue, f"reading failed: {type(error).__name__}: {error}"
        self._failed(venue.name, reason)
        self._records.gaps.append(parser.gap(frames.run_times[0], frames.run_times[-1], reason))
        self._records.quarantine.append(Quarantined(
            at_ns=self._clock.now_ns(), exchange=venue.exchange, market_type=venue.market_type, reason=reason,
            payload=bytes(frames.text[:KEPT_BYTES])))

    def tell_rest(self) -> None:
        """Log the quarantined frames that came too soon after a line to get one; call it now and then."""
        for name, told in self._told.items():
            self._tell(name, told)

    def _tell(self, name: str, told: Told) -> None:
        """Log that frames of a venue went to quarantine: the first at once, then at most once in a while, with their number."""
        now, total = self._clock.monotonic(), self._stats.get("quarantined_frames_total", venue=name)
        if total > told.count and now - told.at >= TOLD_EACH_S:
            log.warning("frames quarantined venue=%s count=%d reason=%s frame=%r", name, total - told.count,
                        " ".join(told.latest.reason.split())[:200], told.latest.payload[:SHOWN_BYTES])
            told.at, told.count = now, total

    def _unclean(self, parsed: list[Parsed], records: Records, error: Exception) -> None:
        """Record that the trades of a turn were lost on their way through."""
        reason = f"sorting out doubles failed: {type(error).__name__}: {error}"
        received = np.concatenate([one.batch.received_at for one in parsed])
        numbers = {number for one in parsed for number in one.batch.instrument.tolist()}
        lost = {self._catalogue.venues[number] for number in numbers}
        for _, parser in self._sources:
            if (parser.venue.exchange, parser.venue.market_type) in lost:
                self._failed(parser.venue.name, reason)
                records.gaps.append(parser.gap(int(received.min()), int(received.max()), reason))

    def _failed(self, name: str, reason: str) -> None:
        self._stats.add("turns_failed_total", venue=name)
        if (name, reason) not in self._said:
            self._said.add((name, reason))
            log.exception("a turn failed venue=%s", name)

    def _number(self, parsed: Parsed) -> Parsed:
        """Give the trades of a venue without ids what tells them apart."""
        before = self.occurrences.left_out
        numbered, gaps = self.occurrences.number(parsed)
        self._stats.add("history_rows_left_out_total", self.occurrences.left_out - before)
        self._records.gaps += gaps
        return numbered

    def _without_history(self, parsed: Parsed, repeats: Repeats) -> Parsed:
        """Leave out the last trades of symbols never seen, pushed on subscribing."""
        kept = repeats.sort_out(parsed)
        self._stats.add("history_rows_left_out_total", len(parsed.batch) - len(kept.batch))
        return kept

    def _clean(self, parsed: list[Parsed], records: Records) -> TradeBatch:
        batch = TradeBatch.concat([one.batch for one in parsed])
        seen = self.dedupe.observe(batch)
        keep = seen.keep
        if any(one.void is not None for one in parsed):
            void = np.concatenate([np.zeros(len(one.batch), np.bool_) if one.void is None else one.void for one in parsed])
            self._stats.add("void_rows_total", int(void.sum()))
            last = np.flatnonzero(void & (batch.trade_id == self.dedupe.last_ids(batch.instrument)))  # untold by any trade
            records.passed += zip(*(column[last].tolist() for column in (batch.instrument, batch.trade_id, batch.timestamp)),
                                  strict=True)
            keep = ~void if keep is None else keep & ~void
        for number, count in seen.doubled.items():
            self._stats.add("doubled_trades_total", count, venue=".".join(self._catalogue.venues[number]))
        for gap in seen.gaps:
            self._count(gap)
        records.gaps += seen.gaps
        return batch if keep is None else batch.take(keep)


def _hand_on(connection: Connection, control: Control) -> None:
    if connection.on_control is not None:
        connection.on_control(control)
