"""The pipeline's only greenlet: parse every venue's frames, drop repeated trades, record gaps, hand over one batch.

A turn runs every `tick_ms`, or as soon as `tick_frames` wait, right after a sweep has read the sockets; the sweep wakes it. It
sleeps while no frames come. All venues of a turn become one batch, because later stages work on columns, and long columns are
cheaper. Each venue gets a slice of each turn (see venue_reader); other greenlets run between the slices of a long turn, and only
one turn runs at a time.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial

import gevent
import numpy as np
from gevent.event import Event
from gevent.lock import BoundedSemaphore
from numpy.typing import NDArray

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import Clock
from pumpwatch.model import Gap, IdKind, TradeBatch
from pumpwatch.net.frames import FrameBuffer
from pumpwatch.net.races import Races
from pumpwatch.net.texts import one_line
from pumpwatch.pipeline.admission import NUMBER_MARK, Compared, compare_by_content, compare_by_id
from pumpwatch.pipeline.certain_repeats import Race
from pumpwatch.pipeline.dedupe import Dedupe, Seen
from pumpwatch.pipeline.parse import Parsed, VenueParser
from pumpwatch.pipeline.replay_filter import ReplayFilter
from pumpwatch.pipeline.synthetic_ids import SyntheticIds
from pumpwatch.pipeline.venue_reader import VenueReader
from pumpwatch.records import Quarantined, Records
from pumpwatch.stats import Stats
from pumpwatch.venue import Venue

log = logging.getLogger(__name__)

LOGGED_EACH_S = 60.0
SHOWN_BYTES = 100  # most bytes of a frame in the log
SHORTEST_PAUSE_S = 0.0001  # gevent.sleep(0) would starve timers
TURN_S = 0.05  # CPU time after which a turn lets other greenlets run
HALF = 0.5  # of the frames that make a turn: with this many, a turn is due after this share of the time
EARLY_S = 0.002  # a turn may begin this much too early, because timers are not exact
LONGEST_SLEEP_S = 1.0  # without frames

Put = Callable[[TradeBatch | None, Records], None]


@dataclass(slots=True)
class Logged:
    """The time and the total of a venue's last log line about quarantined frames, and the latest such frame."""

    latest: Quarantined
    at: float = -math.inf
    count: float = 0


class Ingest:
    """Turns frames into one clean batch per turn. `run` is the body of a supervised greenlet."""

    def __init__(self, catalogue: Catalogue, clock: Clock, stats: Stats, tick_ms: float, tick_frames: int, put: Put) -> None:
        self._catalogue, self._clock, self._stats, self._put = catalogue, clock, stats, put
        self._tick_s, self._tick_frames = tick_ms / 1000, tick_frames
        self._due, self._due_at = Event(), -math.inf
        self._readers: list[VenueReader] = []
        self._turning = BoundedSemaphore(1)
        self._kinds: dict[tuple[str, str], IdKind] = {}
        self._races: dict[tuple[str, str], Races] = {}
        self._records = Records()
        self._stopped = False
        self._failures: set[tuple[str, str]] = set()  # (venue, reason) of logged failures
        self._logged: dict[str, Logged] = {}  # by venue
        self.occurrences = SyntheticIds(catalogue, {})
        self.dedupe = Dedupe(catalogue, lambda *venue: self._kinds.get(venue, IdKind.NONE))

    def continue_after(self, last: Mapping[tuple[str, str, str], tuple[int, int]]) -> None:
        """Continue where an earlier run ended: (exchange, market_type, symbol) -> (last id, its time in ns)."""
        self.dedupe.continue_after(last)
        self.occurrences = SyntheticIds(self._catalogue, last)

    def follow(self, last: Mapping[tuple[str, str, str], tuple[int, int]]) -> list[Gap]:
        """Continue after another process that read the same trades until now; return the gaps where ids do not continue."""
        self.occurrences.follow(last)
        return self.dedupe.follow(last)

    def resume(self, numbers: Collection[int]) -> None:
        """Resume these instruments after another collector has read them: the ids that it has seen are not a gap here."""
        ordered = [number for number in numbers if self._kinds.get(self._catalogue.venues[number]) is not IdKind.NONE]
        self.dedupe.resume(ordered)
        self.occurrences.resume(set(numbers).difference(ordered))

    def add_venue(self, venue: Venue, down: Gap | None = None) -> FrameBuffer:
        """Return the buffer for this venue's connections. down: the recorded gap for the time before this run."""
        self._kinds[venue.exchange, venue.market_type] = venue.id_kind
        buffer = FrameBuffer(venue.name)
        self._races[venue.exchange, venue.market_type] = buffer.races
        parser = VenueParser(venue, self._catalogue, self._clock, self._stats, buffer.lag)
        sort: Callable[[Parsed], Parsed] | None = None
        if venue.id_kind == IdKind.NONE:
            sort = self._number
        elif venue.repeats_last:
            sort = partial(self._without_history, ReplayFilter(self.dedupe.last_ids))
        self._readers.append(VenueReader(buffer, parser, self._clock, self._stats, sort, self._unread, down))
        return buffer

    def parser_of(self, venue: Venue) -> VenueParser:
        """Return the parser of an added venue."""
        return next(reader.parser for reader in self._readers if reader.parser.venue is venue)

    def oldest_waiting_ns(self, venue: str) -> int:
        """Return when the oldest frame of a venue was read whose trades are not handed over yet, in ns; 0 without one."""
        return next((reader.oldest_ns for reader in self._readers if reader.parser.venue.name == venue), 0)

    def compare(self, number: int, batch: TradeBatch, stored: TradeBatch) -> Compared:
        """Compare an instrument's history, oldest first, with its stored trades of the same time."""
        if self._kinds.get(self._catalogue.venues[number]) is IdKind.NONE and batch.text_id is not None:
            keys = list(zip(batch.timestamp.tolist(), batch.text_id.tolist(), strict=True))
            return compare_by_content(batch, stored, self.occurrences.counts(number, keys))
        return compare_by_id(batch, stored, self.dedupe.seen_in_run(number, batch))

    def add_history(self, number: int, batch: TradeBatch) -> list[Gap]:
        """Count history trades that the caller is about to store as seen; return the gaps that they complete or open.

        They open a gap if trades between them and the last seen trade are still missing.
        """
        if self._kinds.get(self._catalogue.venues[number]) is IdKind.NONE and batch.text_id is not None:
            texts = [name.partition(NUMBER_MARK)[0] for name in batch.text_id.tolist()]
            self.occurrences.add_history(number, list(zip(batch.timestamp.tolist(), texts, strict=True)))
            return []
        return self.dedupe.add_history(number, batch)

    def continuous(self, numbers: NDArray[np.int32], from_ns: int, to_ns: int) -> NDArray[np.bool_]:
        """Return a mask of the instruments with every trade of [from_ns, to_ns) seen in this run, by contiguous ids."""
        return self.dedupe.continuous(numbers, from_ns, to_ns)

    def last_seen(self, number: int) -> int:
        """Return an instrument's last id, -1 without one."""
        return int(self.dedupe.last_ids(np.array([number], np.int32))[0])

    def last_before(self, number: int) -> tuple[int, int]:
        """Return the last id that earlier runs stored and its time in ns, (-1, 0) without one."""
        return self.dedupe.recovered(number)

    def run(self) -> None:
        """Run turns until stopped."""
        while not self._stopped:
            self._due.clear()
            self.turn()
            if any(reader.goes_on for reader in self._readers):
                gevent.sleep(SHORTEST_PAUSE_S)
            else:
                self._due.wait(self._tick_s if any(reader.unfinished for reader in self._readers) else LONGEST_SLEEP_S)

    def stop(self) -> None:
        """End `run` before its next turn."""
        self._stopped = True
        self._due.set()

    def wake(self) -> float:
        """Wake `run` if a turn is due or many frames wait; return the seconds until the next turn.

        The sweep calls this after each read. Without frames the result is infinity.
        """
        waiting = 0
        for reader in self._readers:
            waiting += reader.waiting
        if not waiting:
            return math.inf
        now = self._clock.monotonic()
        due_s = self._due_at - now
        if waiting >= HALF * self._tick_frames:  # a lull of a busy venue
            due_s -= HALF * self._tick_s
        if due_s > EARLY_S and waiting < self._tick_frames:
            return due_s
        self._due_at = now + self._tick_s
        self._due.set()
        return self._tick_s

    def turn(self) -> None:
        """Read a slice of each venue and hand over the trades; the rest waits for the next turn."""
        with self._turning:
            yielded_at = time.thread_time()
            for reader in self._readers:
                if reader.idle:
                    continue
                reader.slice()
                if time.thread_time() - yielded_at > TURN_S:
                    gevent.sleep(SHORTEST_PAUSE_S)
                    yielded_at = time.thread_time()
            self._hand_over()

    def finish(self, within_s: float) -> None:
        """Read everything and hand it over; quarantine the frames that are not read after `within_s` as a whole."""
        with self._turning:
            until = self._clock.monotonic() + within_s
            for reader in self._readers:
                reader.rest(until)
            self._hand_over()

    def _hand_over(self) -> None:
        records, self._records = self._records, Records()
        for reader in self._readers:
            parser = reader.parser
            if parser.quarantine:
                logged = self._logged.setdefault(parser.venue.name, Logged(parser.quarantine[-1]))
                logged.latest = parser.quarantine[-1]
                self._log_quarantined(parser.venue.name, logged)
                records.quarantine += parser.quarantine
                parser.quarantine = []
            records.gaps += parser.not_kept()
        parsed = [part for reader in self._readers for part in reader.taken()]
        batch = None
        if parsed:
            try:
                batch = self._clean(parsed, records)
            except Exception as error:  # an error in our code costs this turn's trades, as gaps, but not the collector
                self._record_lost(parsed, records, error)
        if batch is not None or records:
            self._put(batch, records)

    def _unread(self, gap: Gap, error: Exception | None) -> None:
        """Record the gap of frames that were not read because of an error in the plugin or in our code, or for lack of time."""
        if error is not None:
            self._failed(f"{gap.exchange}.{gap.market_type}", gap.reason)
        self._records.gaps.append(gap)

    def log_rest(self) -> None:
        """Log quarantined frames that came too soon after the last log line; call this regularly."""
        for name, logged in self._logged.items():
            self._log_quarantined(name, logged)

    def _log_quarantined(self, name: str, logged: Logged) -> None:
        """Log a venue's quarantined frames: the first at once, later ones at most once a minute, with their number."""
        now, total = self._clock.monotonic(), self._stats.get("quarantined_frames_total", venue=name)
        if total > logged.count and now - logged.at >= LOGGED_EACH_S:
            log.warning("frames quarantined venue=%s count=%d reason=%s frame=%r", name, total - logged.count,
                        one_line(logged.latest.reason, 200), logged.latest.payload[:SHOWN_BYTES])
            logged.at, logged.count = now, total

    def _record_lost(self, parsed: list[Parsed], records: Records, error: Exception) -> None:
        """Record the trades of a failed turn as gaps."""
        reason = f"dropping repeated trades failed: {type(error).__name__}: {error}"
        received = np.concatenate([part.batch.received_at for part in parsed])
        numbers = {number for part in parsed for number in part.batch.instrument.tolist()}
        lost = {self._catalogue.venues[number] for number in numbers}
        for reader in self._readers:
            venue = reader.parser.venue
            if (venue.exchange, venue.market_type) in lost:
                self._failed(venue.name, reason)
                records.gaps.append(reader.parser.gap(int(received.min()), int(received.max()), reason))

    def _failed(self, name: str, reason: str) -> None:
        self._stats.add("turns_failed_total", venue=name)
        if (name, reason) not in self._failures:
            self._failures.add((name, reason))
            log.exception("turn failed venue=%s", name)

    def _number(self, parsed: Parsed) -> Parsed:
        """Give synthetic ids to the trades of a venue without ids."""
        before, repeated = self.occurrences.left_out, self.occurrences.repeated
        numbered, gaps = self.occurrences.number(parsed)
        self._stats.add("history_rows_left_out_total", self.occurrences.left_out - before)
        if self.occurrences.repeated > repeated:
            venue = ".".join(self._catalogue.venues[int(parsed.batch.instrument[0])])
            self._stats.add("doubled_trades_total", self.occurrences.repeated - repeated, venue=venue)
        self._record_races(self.occurrences.races)
        self.occurrences.races = []
        self._records.gaps += gaps
        return numbered

    def _without_history(self, replay_filter: ReplayFilter, parsed: Parsed) -> Parsed:
        """Drop old trades that the venue sent on subscribing to symbols never seen before."""
        kept = replay_filter.sort_out(parsed)
        self._stats.add("history_rows_left_out_total", len(parsed.batch) - len(kept.batch))
        return kept

    def _count_doubled(self, seen: Seen) -> None:
        venues = self._catalogue.venues
        totals: dict[tuple[str, str], int] = {}
        for number, count in seen.doubled.items():
            totals[venues[number]] = totals.get(venues[number], 0) + count
        for venue, total in totals.items():
            self._stats.add("doubled_trades_total", total, venue=".".join(venue))
            self._stats.add("trades_total", -total, venue=".".join(venue))  # the reader has counted them
        self._record_races(seen.races)

    def _record_races(self, races: list[Race]) -> None:
        for number, first, second, lead_ns in races:
            if first != second:
                self._races[self._catalogue.venues[number]].record(first, second, lead_ns)

    def _clean(self, parsed: list[Parsed], records: Records) -> TradeBatch:
        batch = TradeBatch.concat([part.batch for part in parsed])
        settled = None
        if any(part.settled is not None for part in parsed):
            settled = np.concatenate([part.batch.timestamp if part.settled is None else part.settled for part in parsed])
        source = None
        if any(reader.buffer.doubled for reader in self._readers):
            source = np.concatenate([np.zeros(len(part.batch), np.int64) if part.source is None else part.source
                                     for part in parsed])
        seen = self.dedupe.observe(batch, settled, source)
        keep = seen.keep
        if any(part.void is not None for part in parsed):
            void = np.concatenate([np.zeros(len(part.batch), np.bool_) if part.void is None else part.void for part in parsed])
            self._stats.add("void_rows_total", int(void.sum()))
            used = np.flatnonzero(void if keep is None else void & keep)  # no trade carries these ids
            records.passed += zip(*(column[used].tolist() for column in (batch.instrument, batch.trade_id, batch.timestamp)),
                                  strict=True)
            keep = ~void if keep is None else keep & ~void
        self._count_doubled(seen)
        records.gaps += seen.gaps
        return batch if keep is None else batch.take(keep)
