"""One venue's frames on their way through its parser, a slice a turn.

No venue holds up another: a slice ends after some time, and what is left is read on in the next turn, before anything that came
later. Other greenlets run between slices, not within: each time they do may take long. Frames that are refused cost far more
than trades, so the time spent on them is credit: a venue has a share of it each second, and one that uses it up waits. Meanwhile
its buffer fills, the sweep holds its reading back, and TCP its sender. Nothing is dropped for that.

What was read stays here until it is handed on, so that a turn that is broken off between two slices loses nothing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import gevent

from pumpwatch.clock import NS_PER_MS, NS_PER_S, Clock
from pumpwatch.model import Gap, IdKind
from pumpwatch.net.frames import FrameBuffer
from pumpwatch.pipeline.parse import Parsed, VenueParser
from pumpwatch.pipeline.scan import Scan
from pumpwatch.printable import printable
from pumpwatch.stats import Stats
from pumpwatch.supervisor import guarded

# In CPU time, which is what greenlets take from each other: a busy machine is not the venue's fault.
SLICE_S = 0.05
SHORTEST_PAUSE_S = 0.0001  # gevent.sleep(0) would starve timers
REFUSING_SHARE = 0.2  # of a core, for frames of a venue that are refused
REFUSING_S = 0.05  # that much at once
TURNED_BACK_NS = 60 * NS_PER_S
NOT_READ = "frames not read when the collector was stopped"


class VenueReader:
    """Reads what waits in a venue's buffer. All trades pass `sort` (None: nothing to sort out) before they are handed on.

    on_unread(gap, error) is told of what could not be read: for an error of the plugin's, or (None) for want of time. `down` is
    the gap that was recorded for the time before this run.
    """

    def __init__(self, buffer: FrameBuffer, parser: VenueParser, clock: Clock, stats: Stats,
                 sort: Callable[[Parsed], Parsed] | None, on_unread: Callable[[Gap, Exception | None], None],
                 down: Gap | None = None) -> None:
        self.buffer, self.parser = buffer, parser
        self._clock, self._stats, self._sort, self._on_unread = clock, stats, sort, on_unread
        self._down = down  # the gap before this run, until its end is sure
        self._scan: Scan | None = None
        self._read: list[Parsed] = []  # of the scan, not accounted for yet
        self._taken: list[Parsed] = []
        self._credit, self._credited_at = REFUSING_S, clock.monotonic()
        self._slice_until = 0.0
        self._cpu_s = time.thread_time

    @property
    def goes_on(self) -> bool:
        """Whether frames are left over that may be read at once."""
        return self._scan is not None and self._credit > 0

    @property
    def waiting(self) -> int:
        """Frames for which a turn is due; those of a venue that waits for credit do not count."""
        return 0 if self._scan is not None else len(self.buffer.stops)

    def slice(self) -> None:
        """Read for as long as a slice lasts."""
        self._note_behind()
        now = self._clock.monotonic()
        self._credit = min(REFUSING_S, self._credit + (now - self._credited_at) * REFUSING_SHARE)
        self._credited_at = now
        self._go_on()

    def rest(self, until: float) -> None:
        """Read all there is. What is not read by then is put away as a whole: counted, one frame kept, and a gap."""
        self._note_behind()
        self._credit = math.inf
        while self._scan or self.buffer.stops:
            self._go_on()
            gevent.sleep(SHORTEST_PAUSE_S)
            if self._scan and self._clock.monotonic() >= until:
                self._account(self._scan)
                self._on_unread(self.parser.give_up(self._scan.frames, self._scan.at, len(self._scan.frames), NOT_READ), None)
                self.parser.count()
                self._scan = None

    def taken(self) -> list[Parsed]:
        """Hand over the trades that were read."""
        taken, self._taken = self._taken, []
        return taken

    def _note_behind(self) -> None:
        """Let gaps begin, and the lag be as large, as what waits unread makes them."""
        since_ns = self.buffer.behind_since_ns
        if since_ns or self.parser.behind_since_ns:
            self.parser.behind_since_ns = since_ns
            self._publish_lag()

    def _publish_lag(self) -> None:
        behind_ns = self._clock.now_ns() - self.parser.behind_since_ns if self.parser.behind_since_ns else 0
        lag_ns = self.parser.lag.ns
        self._stats.set("lag_ms", (lag_ns if abs(lag_ns) > behind_ns else behind_ns) / NS_PER_MS, venue=self.parser.venue.name)

    def _go_on(self) -> None:
        if self._scan is None:
            frames = self.buffer.take_frames()
            if frames is None:
                return
            self._scan = Scan(frames)
            self._stats.add("frames_total", len(frames), venue=self.parser.venue.name)
        scan = self._scan
        self._slice_until = self._cpu_s() + SLICE_S
        while scan and self._credit > 0 and not guarded(partial(self._ranges, scan), partial(self._unreadable, scan)):
            pass  # behind what could not be read
        self._account(scan)
        self.parser.count()
        if not scan:
            self._scan = None

    def _ranges(self, scan: Scan) -> None:
        """Read until the slice is over, and one range at least."""
        cpu_s, advance = self._cpu_s, self.parser.advance
        while scan and self._credit > 0:
            began = cpu_s()
            parsed = advance(scan)
            now = cpu_s()
            if parsed is None:
                self._credit = max(-REFUSING_S, self._credit - (now - began))
            else:
                self._read.append(parsed)
            if now >= self._slice_until:
                return

    def _unreadable(self, scan: Scan, error: Exception) -> None:
        """Go on behind frames at which the parser fails in a way no parser may."""
        first, last = scan.range()
        reason = f"reading failed: {type(error).__name__}: {error}"
        self._on_unread(self.parser.give_up(scan.frames, first, last, reason), error)
        scan.took(last)

    def _sorted(self, read: list[Parsed]) -> list[Parsed]:
        if self._sort is None:
            return read
        done: list[Parsed] = []
        for one in read:
            guarded(partial(self._sort_into, done, one), partial(self._unsorted, one))
        return done

    def _sort_into(self, read: list[Parsed], one: Parsed) -> None:
        assert self._sort is not None
        read.append(self._sort(one))

    def _unsorted(self, one: Parsed, error: Exception) -> None:
        received = one.batch.received_at
        reason = f"sorting out what was seen before failed: {type(error).__name__}: {error}"
        self._on_unread(self.parser.gap(int(received.min()), int(received.max()), printable(reason)), error)

    def _end_down(self, down: Gap, first_ns: int, received_ns: int) -> None:
        """Let the gap before this run reach up to its first trade where our clock has been turned back meanwhile."""
        self._down = None
        if first_ns - received_ns > TURNED_BACK_NS and first_ns > down.to_ns:
            self._on_unread(replace(down, to_ns=first_ns), None)

    def _account(self, scan: Scan) -> None:
        """Sort what was read, and note which connections it came from."""
        read, self._read = self._read, []
        read = [one for one in read if len(one.batch)]
        if not read:
            return
        numbers = self.parser.venue.id_kind is IdKind.NONE
        if not numbers:  # it may find out what is history
            read = self._sorted(read)
        times, lag = set[int](), self.parser.lag
        for at, one in enumerate(read):
            live = one.batch if one.past is None else one.batch.take(~one.past)  # history tells neither life nor lag
            if len(live):
                received = live.received_at  # equal in all rows of a read, so that the last of each is enough
                times.update(received[:-1][received[1:] != received[:-1]].tolist(), received[-1:].tolist())
                if self._down is not None:
                    self._end_down(self._down, int(live.timestamp.min()), int(received[-1]))
                lag.record(received - live.timestamp)
            settled = lag.settled(one.batch) if len(one.batch) else None
            if settled is not None:
                read[at] = replace(one, settled=settled)
        if numbers:
            read = self._sorted(read)
        count = sum(len(one.batch) for one in read)
        if count:
            self._stats.add("trades_total", count, venue=self.parser.venue.name)
        if times:
            for at_ns, connection in zip(scan.frames.run_times, scan.frames.connections, strict=True):
                if at_ns in times:
                    connection.traded_at_ns = at_ns
            self._publish_lag()
        self._taken += read
