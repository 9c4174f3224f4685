"""Pass one venue's frames through its parser, one slice per turn.

No venue blocks another: a slice ends after some time, and the next turn continues it before it reads later frames. Other
greenlets run between slices but not within a slice, because each switch may take long. Rejected frames cost far more than
trades, so a venue has a limited credit of CPU time for them, and waits once the credit is used up. Meanwhile its buffer fills,
the sweep stops reading its sockets, and TCP stops its sender. No frame is dropped for this reason.

Trades stay here until they are handed over, so that a turn interrupted between two slices loses nothing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace

import gevent
import numpy as np

from pumpwatch.clock import NS_PER_MS, NS_PER_S, Clock
from pumpwatch.model import Gap, IdKind, Int64
from pumpwatch.net.frames import FrameBuffer
from pumpwatch.net.lag import FEW
from pumpwatch.pipeline.parse import Parsed, VenueParser
from pumpwatch.pipeline.scan import Scan
from pumpwatch.printable import printable
from pumpwatch.stats import Stats

# In CPU time, which greenlets take from each other; a venue is not charged for a busy machine.
SLICE_S = 0.05
SHORTEST_PAUSE_S = 0.0001  # gevent.sleep(0) would starve timers
REJECT_SHARE = 0.2  # of a core, for rejected frames of a venue
REJECT_S = 0.05  # the most credit
TURNED_BACK_NS = 60 * NS_PER_S
NOT_READ = "frames not read when the collector was stopped"


class VenueReader:
    """Reads the frames in a venue's buffer. All trades pass `sort` (None: no filter) before they are handed over.

    on_unread(gap, error): gets the gap of frames that were not read, because of a plugin's error or (None) for lack of time.
    down: the gap that was recorded for the time before this run.
    """

    def __init__(self, buffer: FrameBuffer, parser: VenueParser, clock: Clock, stats: Stats,
                 sort: Callable[[Parsed], Parsed] | None, on_unread: Callable[[Gap, Exception | None], None],
                 down: Gap | None = None) -> None:
        self.buffer, self.parser = buffer, parser
        self._clock, self._stats, self._sort, self._on_unread = clock, stats, sort, on_unread
        self._down = down  # the gap before this run, until its end is certain
        self._scan: Scan | None = None
        self._read: list[Parsed] = []  # from the scan, before `_account`
        self._taken: list[Parsed] = []
        self._credit, self._credited_at = REJECT_S, clock.monotonic()
        self._slice_until = 0.0
        self._cpu_s = time.thread_time
        self._name = parser.venue.name

    @property
    def goes_on(self) -> bool:
        """Return whether frames are left that may be read at once."""
        return self._scan is not None and self._credit > 0

    @property
    def unfinished(self) -> bool:
        """Return whether frames of an earlier slice are left, possibly waiting for credit."""
        return self._scan is not None

    @property
    def idle(self) -> bool:
        """Return whether a slice would do nothing."""
        return not (self.buffer.end or self._scan is not None or self.buffer.behind_since_ns or self.parser.behind_since_ns)

    @property
    def waiting(self) -> int:
        """The number of frames that wait for a turn; frames of a venue that waits for credit do not count."""
        return 0 if self._scan is not None else len(self.buffer.stops)

    @property
    def oldest_ns(self) -> int:
        """The time in ns at which the oldest frame or trade that is not handed over was read, 0 without one."""
        waiting = [int(part.batch.received_at.min()) for part in (*self._taken, *self._read) if len(part.batch)]
        if self._scan is not None and self._scan.frames.run_times:
            waiting.append(self._scan.frames.run_times[0])
        if self.buffer.oldest_ns:
            waiting.append(self.buffer.oldest_ns)
        return min(waiting, default=0)

    def slice(self) -> None:
        """Read for the length of a slice."""
        self._update_lag()
        now = self._clock.monotonic()
        self._credit = min(REJECT_S, self._credit + (now - self._credited_at) * REJECT_SHARE)
        self._credited_at = now
        self._read_slice()

    def rest(self, until: float) -> None:
        """Read everything; quarantine the frames that are not read by `until` (monotonic) as a whole, with a gap."""
        self._update_lag()
        self._credit = math.inf
        while self._scan or self.buffer.stops:
            self._read_slice()
            gevent.sleep(SHORTEST_PAUSE_S)
            if self._scan and self._clock.monotonic() >= until:
                self._account(self._scan)
                self._on_unread(self.parser.give_up(self._scan.frames, self._scan.at, len(self._scan.frames), NOT_READ), None)
                self.parser.count()
                self._end_scan()

    def taken(self) -> list[Parsed]:
        """Remove and return the trades that were read."""
        taken, self._taken = self._taken, []
        return taken

    def _update_lag(self) -> None:
        """Update the parser and the lag by the age of the unread frames."""
        since_ns = self.buffer.behind_since_ns
        if since_ns or self.parser.behind_since_ns:
            self.parser.behind_since_ns = since_ns
            self._publish_lag()

    def _publish_lag(self) -> None:
        self._stats.set("lag_ms", self.buffer.lag_ns(self._clock.now_ns()) / NS_PER_MS, venue=self._name)

    def _read_slice(self) -> None:
        if self._scan is None:
            frames = self.buffer.take_frames()
            if frames is None:
                return
            self._scan = Scan(frames)
            self._stats.add("frames_total", len(frames), venue=self._name)
        scan = self._scan
        self._slice_until = self._cpu_s() + SLICE_S
        while scan and self._credit > 0:
            try:
                self._read_ranges(scan)
                break
            except Exception as error:  # a plugin's parser may raise anything; later frames are still read
                self._give_up_range(scan, error)
        self._account(scan)
        self.parser.count()
        if not scan:
            self._end_scan()

    def _end_scan(self) -> None:
        self._scan = None
        self.buffer.release_frames()

    def _read_ranges(self, scan: Scan) -> None:
        """Read at least one range, until the slice is over."""
        cpu_s, advance = self._cpu_s, self.parser.advance
        while scan and self._credit > 0:
            began = cpu_s()
            parsed = advance(scan)
            now = cpu_s()
            if parsed is None:
                self._credit = max(-REJECT_S, self._credit - (now - began))
            else:
                self._read.append(parsed)
            if now >= self._slice_until:
                return

    def _give_up_range(self, scan: Scan, error: Exception) -> None:
        """Continue after frames for which the parser raised an error that parsers must not raise."""
        first, last = scan.range()
        reason = f"reading failed: {type(error).__name__}: {error}"
        self._on_unread(self.parser.give_up(scan.frames, first, last, reason), error)
        scan.accept(last)

    def _sorted(self, read: list[Parsed]) -> list[Parsed]:
        if self._sort is None:
            return read
        done: list[Parsed] = []
        for parsed in read:
            try:
                done.append(self._sort(parsed))
            except Exception as error:  # an error in our code costs these trades, as a gap, but not the turn of every venue
                received = parsed.batch.received_at
                reason = f"filtering repeated trades failed: {type(error).__name__}: {error}"
                self._on_unread(self.parser.gap(int(received.min()), int(received.max()), printable(reason)), error)
        return done

    def _end_down(self, down: Gap, first_ns: int, received_ns: int) -> None:
        """Extend the gap before this run to the first trade if our clock was turned back meanwhile."""
        self._down = None
        if first_ns - received_ns > TURNED_BACK_NS and first_ns > down.to_ns:
            self._on_unread(replace(down, to_ns=first_ns), None)

    def _settled(self, parsed: Parsed, times: dict[int, int]) -> Int64 | None:
        """Record the lag of the live trades, and the last trade's time by time of arrival; return the result of `Lag.settled`."""
        batch, lag = parsed.batch, self.parser.lag
        live = batch if parsed.past is None else batch.take(~parsed.past)  # history proves neither life nor lag
        if not len(live):
            return lag.corrected_times(batch) if len(batch) else None
        received = live.received_at
        if len(received) <= FEW:
            times.update(zip(received.tolist(), live.timestamp.tolist(), strict=True))
        else:  # all rows of a read have the same time of arrival: the last row of each is enough
            last = np.append(np.flatnonzero(received[1:] != received[:-1]), len(received) - 1)
            times.update(zip(received[last].tolist(), live.timestamp[last].tolist(), strict=True))
        if self._down is not None:
            self._end_down(self._down, int(live.timestamp.min()), int(received[-1]))
        lowest = lag.record(received - live.timestamp)
        return lag.corrected_times(batch) if live is not batch or lag.far_ahead(lowest) else None

    def _account(self, scan: Scan) -> None:
        """Filter the parsed trades, record their lag, and report them to the sources that they came from."""
        read, self._read = self._read, []
        read = [parsed for parsed in read if len(parsed.batch)]
        if not read:
            return
        numbers = self.parser.venue.id_kind is IdKind.NONE
        if not numbers:  # the filter may mark rows as history
            read = self._sorted(read)
        times = dict[int, int]()
        for at, parsed in enumerate(read):
            settled = self._settled(parsed, times)
            if settled is not None:
                read[at] = replace(parsed, settled=settled)
        if numbers:
            read = self._sorted(read)
        count = sum([len(parsed.batch) for parsed in read])
        if count:
            self._stats.add("trades_total", count, venue=self._name)
        if times:
            for at_ns, source in zip(scan.frames.run_times, scan.frames.run_sources, strict=True):
                if at_ns in times:
                    source.receive_trades(at_ns, times[at_ns])
            self._publish_lag()
        self._taken += read
