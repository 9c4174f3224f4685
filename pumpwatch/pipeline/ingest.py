"""The pipeline's one greenlet: takes every venue's frames, parses, drops doubles, notes gaps, hands on a batch.

It turns every `tick_ms`, or as soon as `tick_frames` wait. All venues of a turn become one batch: what follows works on
columns, and is cheaper the longer they are. A venue has a slice of each turn (reading.py); other greenlets run between the
slices of a long turn, and only one turn is under way at a time.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import gevent
import numpy as np
from gevent.event import Event
from gevent.lock import BoundedSemaphore

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import Clock
from pumpwatch.model import Control, Gap, IdKind, TradeBatch, Venue
from pumpwatch.net.frames import FrameBuffer, FrameSource
from pumpwatch.net.texts import one_line
from pumpwatch.pipeline.dedupe import Dedupe
from pumpwatch.pipeline.parse import Parsed, VenueParser
from pumpwatch.pipeline.replay_filter import ReplayFilter
from pumpwatch.pipeline.synthetic_ids import SyntheticIds
from pumpwatch.pipeline.venue_reader import VenueReader
from pumpwatch.records import Quarantined, Records
from pumpwatch.stats import Stats
from pumpwatch.supervisor import guarded

log = logging.getLogger(__name__)

TOLD_EACH_S = 60.0
SHOWN_BYTES = 100  # of a frame in the log
SHORTEST_PAUSE_S = 0.0001  # gevent.sleep(0) would starve timers
BREATH_S = 0.05  # of CPU time, after which a turn lets others run

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
        self._readings: list[VenueReader] = []
        self._turning = BoundedSemaphore(1)
        self._kinds: dict[tuple[str, str], IdKind] = {}
        self._records = Records()
        self._stopped = False
        self._said: set[tuple[str, str]] = set()  # failures that were logged
        self._told: dict[str, Told] = {}  # by venue
        self.occurrences = SyntheticIds(catalogue, {})
        self.dedupe = Dedupe(catalogue, lambda *venue: self._kinds.get(venue, IdKind.NONE))

    def take_up(self, last: Mapping[tuple[str, str, str], tuple[int, int]]) -> None:
        """Go on where an earlier run ended: (exchange, market_type, symbol) -> (last id, its time in ns)."""
        self.dedupe.take_up(last)
        self.occurrences = SyntheticIds(self._catalogue, last)

    def add_venue(self, venue: Venue, down: Gap | None = None) -> FrameBuffer:
        """Return the buffer into which this venue's connections read; `down` is the gap recorded for the time before this run."""
        self._kinds[venue.exchange, venue.market_type] = venue.id_kind
        buffer = FrameBuffer(venue.name)
        parser = VenueParser(venue, self._catalogue, self._clock, self._stats, _hand_on)
        sort: Callable[[Parsed], Parsed] | None = None
        if venue.id_kind == IdKind.NONE:
            sort = self._number
        elif venue.repeats_last:
            sort = partial(self._without_history, ReplayFilter(self.dedupe.last_ids))
        self._readings.append(VenueReader(buffer, parser, self._clock, self._stats, sort, self._unread, down))
        return buffer

    def run(self) -> None:
        """Turn until stopped."""
        while not self._stopped:
            started = self._clock.monotonic()
            self.turn()
            self._due.clear()
            if any(reading.goes_on for reading in self._readings):
                gevent.sleep(SHORTEST_PAUSE_S)
            else:
                self._due.wait(max(SHORTEST_PAUSE_S, self._tick_s - (self._clock.monotonic() - started)))

    def stop(self) -> None:
        """End `run` at its next turn."""
        self._stopped = True
        self._due.set()

    def hurry(self) -> None:
        """Turn at once when many frames wait; the sweep calls it each time it has read."""
        if sum(reading.waiting for reading in self._readings) >= self._tick_frames:
            self._due.set()

    def turn(self) -> None:
        """Take what is there and hand it on. What is more than a venue's slice stays for the next turn."""
        with self._turning:
            breathed = time.thread_time()
            for reading in self._readings:
                reading.slice()
                if time.thread_time() - breathed > BREATH_S:
                    gevent.sleep(SHORTEST_PAUSE_S)
                    breathed = time.thread_time()
            self._hand_over()

    def finish(self, within_s: float) -> None:
        """Take everything and hand it on; what cannot be read in time is put away as a whole."""
        with self._turning:
            until = self._clock.monotonic() + within_s
            for reading in self._readings:
                reading.rest(until)
            self._hand_over()

    def _hand_over(self) -> None:
        records, self._records = self._records, Records()
        for reading in self._readings:
            parser = reading.parser
            if parser.quarantine:
                told = self._told.setdefault(parser.venue.name, Told(parser.quarantine[-1]))
                told.latest = parser.quarantine[-1]
                self._tell(parser.venue.name, told)
                records.quarantine += parser.quarantine
                parser.quarantine = []
            records.gaps += parser.not_kept()
        parsed = [one for reading in self._readings for one in reading.taken()]
        clean: list[TradeBatch] = []
        if parsed:
            guarded(lambda: clean.append(self._clean(parsed, records)), partial(self._unclean, parsed, records))
        batch = clean[0] if clean else None
        if batch is not None or records:
            self._put(batch, records)

    def _unread(self, gap: Gap, error: Exception | None) -> None:
        """Record frames of a venue that were not read, for a reason that lies in its plugin, or in us."""
        if error is not None:
            self._failed(f"{gap.exchange}.{gap.market_type}", gap.reason)
        self._records.gaps.append(gap)

    def tell_rest(self) -> None:
        """Log the quarantined frames that came too soon after a line to get one; call it now and then."""
        for name, told in self._told.items():
            self._tell(name, told)

    def _tell(self, name: str, told: Told) -> None:
        """Log that frames of a venue went to quarantine: the first at once, then at most once in a while, with their number."""
        now, total = self._clock.monotonic(), self._stats.get("quarantined_frames_total", venue=name)
        if total > told.count and now - told.at >= TOLD_EACH_S:
            log.warning("frames quarantined venue=%s count=%d reason=%s frame=%r", name, total - told.count,
                        one_line(told.latest.reason, 200), told.latest.payload[:SHOWN_BYTES])
            told.at, told.count = now, total

    def _unclean(self, parsed: list[Parsed], records: Records, error: Exception) -> None:
        """Record that the trades of a turn were lost on their way through."""
        reason = f"sorting out doubles failed: {type(error).__name__}: {error}"
        received = np.concatenate([one.batch.received_at for one in parsed])
        numbers = {number for one in parsed for number in one.batch.instrument.tolist()}
        lost = {self._catalogue.venues[number] for number in numbers}
        for reading in self._readings:
            venue = reading.parser.venue
            if (venue.exchange, venue.market_type) in lost:
                self._failed(venue.name, reason)
                records.gaps.append(reading.parser.gap(int(received.min()), int(received.max()), reason))

    def _failed(self, name: str, reason: str) -> None:
        self._stats.add("turns_failed_total", venue=name)
        if (name, reason) not in self._said:
            self._said.add((name, reason))
            log.exception("a turn failed venue=%s", name)

    def _number(self, parsed: Parsed) -> Parsed:
        """Give the trades of a venue without ids what tells them apart."""
        before, repeated = self.occurrences.left_out, self.occurrences.repeated
        numbered, gaps = self.occurrences.number(parsed)
        self._stats.add("history_rows_left_out_total", self.occurrences.left_out - before)
        if self.occurrences.repeated > repeated:
            venue = ".".join(self._catalogue.venues[int(parsed.batch.instrument[0])])
            self._stats.add("doubled_trades_total", self.occurrences.repeated - repeated, venue=venue)
        self._records.gaps += gaps
        return numbered

    def _without_history(self, repeats: ReplayFilter, parsed: Parsed) -> Parsed:
        """Leave out the last trades of symbols never seen, pushed on subscribing."""
        kept = repeats.sort_out(parsed)
        self._stats.add("history_rows_left_out_total", len(parsed.batch) - len(kept.batch))
        return kept

    def _clean(self, parsed: list[Parsed], records: Records) -> TradeBatch:
        batch = TradeBatch.concat([one.batch for one in parsed])
        settled = None
        if any(one.settled is not None for one in parsed):
            settled = np.concatenate([one.batch.timestamp if one.settled is None else one.settled for one in parsed])
        seen = self.dedupe.observe(batch, settled)
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
        records.gaps += seen.gaps
        return batch if keep is None else batch.take(keep)


def _hand_on(connection: FrameSource, control: Control) -> None:
    if connection.on_control is not None:
        connection.on_control(control)
