"""The one greenlet that reads every socket.

It sweeps its own epoll set every few milliseconds and reads whatever is ready, instead of waking one greenlet for each socket and
frame: at 50,000 frames/s that costs a sixth of a core instead of a whole one. Sweeps are rarer when reads find few frames, as a
read costs nearly the same for one frame as for ten. While a listing window is open it sweeps every millisecond, so that
received_at is precise when it matters. While nothing arrives it sleeps until something does.

The pipeline parses right after a sweep and returns when it wants the next one; the sweeps until then are spread evenly. So rare
sweeps do not add to the time that a frame waits for the parser.

It stops reading a venue with too many unparsed bytes or frames. Then the kernel's buffers fill, TCP slows the sender down, memory
stays bounded, and the other venues are read as before.
"""

from __future__ import annotations

import logging
import math
import select
import sys
from collections.abc import Callable, Iterable
from typing import Any

import gevent
from gevent import monkey
from gevent.event import Event

from pumpwatch.clock import Clock
from pumpwatch.net.connection import Connection
from pumpwatch.net.frames import FrameBuffer
from pumpwatch.stats import Stats

log = logging.getLogger(__name__)

READY = select.EPOLLIN | select.EPOLLRDHUP if hasattr(select, "EPOLLIN") else 0x2001
UNREADABLE = (OSError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, BufferError)
READABLE = 1  # gevent's number for it
SHORTEST_PAUSE_S = 0.0001  # gevent.sleep(0) would starve timers
LONGEST_SLEEP_S = 1.0  # without data; venues that are held back are checked at least this often
MAX_PENDING_FRAMES = 50_000  # of one venue: a third of a second of the busiest venue imaginable
LAST_READS = 64  # of a connection before it is closed: more than the kernel holds for it
QUICK_REST = 2.0  # of the time that a quick sweep takes
STRETCH = 0.2  # of a pause: it may be longer by this part if that saves a sweep
FRAMES_A_SWEEP = 2_000  # then the pipeline has its turn: read frames must not wait until a long queue has been read too
MOST_FRAMES_A_SWEEP = 16_000  # while the sockets never run dry: few large turns cost less than many small ones
FRAMES_A_READ = 20  # sweeps are rare enough that a read finds this many: a read costs as much as three frames
FULL_SPEED_AFTER_S = 5.0  # a venue that was not held back for this long is read at full speed again


class Sweep:
    """Reads every added connection, then calls `after`, which returns the seconds until it must be called again.

    Sweeps are between `interval_s` and `sparse_s` apart, by the frames that a read finds, or `quick_s` while a window is open.
    """

    def __init__(self, clock: Clock, stats: Stats, interval_s: float, quick_s: float, max_pending_bytes: int,
                 after: Callable[[], float] = lambda: math.inf, max_pending_frames: int = MAX_PENDING_FRAMES,
                 sparse_s: float = 0.0) -> None:
        self._clock, self._stats, self._after = clock, stats, after
        self._interval_s, self._quick_s, self._sparse_s = interval_s, quick_s, max(interval_s, sparse_s)
        self._pace_s = interval_s  # between two sweeps
        self._max_pending_bytes, self._max_pending_frames = max_pending_bytes, max_pending_frames
        self._quick = False
        self._cut_short = False  # the last sweep has left sockets that are ready to the next one
        self._most_frames = FRAMES_A_SWEEP  # of the next sweep
        self._epoll = monkey.get_original("select", "epoll")()
        self._connections: dict[int, Connection] = {}
        self._unpolled: list[Connection] = []  # may have frames that epoll does not report: they are new, or frames wait
        self._held_back: dict[FrameBuffer, float] = {}  # buffer -> when its reading was last held back
        self._wake = Event()
        self._stopped = False

    def add(self, connection: Connection) -> None:
        """Read this connection from the next sweep on."""
        number = connection.stream.fileno()
        self._connections[number] = connection
        self._epoll.register(number, READY)
        self._unpolled.append(connection)  # the handshake may have left frames in it
        self._wake.set()

    def remove(self, connection: Connection) -> None:
        """Stop reading a connection. Call it before the stream is closed; a second call is harmless."""
        number = connection.stream.fileno()
        if self._connections.get(number) is connection:
            del self._connections[number]
            self._epoll.unregister(number)
            self._wake.set()  # its last frames may wait to be parsed

    def hasten(self, quick: bool) -> None:
        """Sweep quickly (True) or at the usual interval (False) from now on."""
        self._quick = quick

    def run(self) -> None:
        """Sweep until `stop`; the body of a supervised greenlet."""
        watcher = gevent.get_hub().loop.io(self._epoll.fileno(), READABLE)
        try:
            while not self._stopped:
                started = self._clock.monotonic()
                busy = self.once()
                due_s = self._after()
                if busy or self._unpolled:
                    gevent.sleep(self._pause_s(self._clock.monotonic() - started, due_s))
                else:
                    self._sleep(watcher, min(due_s, LONGEST_SLEEP_S))
        finally:
            watcher.close()

    def _pause_s(self, took_s: float, due_s: float) -> float:
        """Return the pause before the next sweep: as long as allowed, or shorter, so that a sweep comes when `after` is due.

        took_s: the time of the last sweep, which counts as part of the pause. Quick sweeps leave QUICK_REST times as much to
        other greenlets, within the usual interval: at a high rate they would otherwise follow one another without a pause.
        """
        if self._cut_short:
            return SHORTEST_PAUSE_S
        longest_s = self._quick_s if self._quick else self._pace_s
        if self._quick:
            longest_s = max(longest_s, min((1 + QUICK_REST) * took_s, self._interval_s))
        pause_s = max(SHORTEST_PAUSE_S, longest_s - took_s)
        return pause_s if due_s == math.inf else due_s / max(1, math.ceil(due_s / pause_s - STRETCH))

    def _sleep(self, watcher: Any, longest_s: float) -> None:
        """Wait until epoll has something to read, a connection is added or removed, the sweep is stopped, or the time is up."""
        self._wake.clear()
        watcher.start(self._wake.set)
        try:
            if not self._stopped:
                self._wake.wait(longest_s)
        finally:
            watcher.stop()

    def stop(self) -> None:
        """End `run` after its current sweep."""
        self._stopped = True
        self._wake.set()

    def drain(self, connection: Connection) -> None:
        """Read one connection to its end before it is closed, however many frames wait to be parsed."""
        reads = 0
        while reads < LAST_READS and not connection.closed:
            before, split_only = connection.bytes_read, connection.frames_wait
            reads += not split_only
            self._read(connection)
            if connection.bytes_read == before and not split_only:
                return

    def finish(self) -> None:
        """Read everything that is ready a last time, and pass on every waiting frame."""
        self._most_frames = sys.maxsize
        self._split_waiting()  # or else they would be split instead of a read
        self.once()
        self._split_waiting()

    def _split_waiting(self) -> None:
        for connection in list(self._connections.values()):
            while connection.frames_wait and not connection.closed:
                self._read(connection)

    def _read(self, connection: Connection) -> None:
        try:
            connection.sweep(self._clock.now_ns())
        except UNREADABLE as error:
            venue, _, number = connection.name.partition("#")
            log.exception("reading failed, closing the connection venue=%s connection=%s", venue, number)
            connection.close(f"reading failed: {type(error).__name__} {error}")

    def _drop_if_closed(self, connection: Connection) -> None:
        if connection.closed:
            self.remove(connection)

    def once(self) -> bool:
        """Read everything that is ready; return whether anything was. After many frames, leave the rest to the next call.

        A connection whose reading fails is closed; the others are read all the same.
        """
        unpolled, self._unpolled = self._unpolled, []
        ready: Iterable[Connection | None] = [self._connections.get(number) for number, _ in self._epoll.poll(0)]
        if unpolled:
            ready = dict.fromkeys((*unpolled, *ready))
        busy = self._cut_short = False
        reads = frames = 0
        left: list[Connection] = []
        for connection in ready:
            busy = True
            if connection is None or connection.closed:
                continue
            if frames >= self._most_frames:
                self._cut_short = True
                left.append(connection)
                continue
            buffer = connection.buffer
            if buffer.end > self._max_pending_bytes or len(buffer.stops) >= self._max_pending_frames:
                self._hold_back(buffer)
                if connection in unpolled:
                    self._unpolled.append(connection)
                continue
            reads += 1
            frames -= len(buffer.stops)
            self._read(connection)
            frames += len(buffer.stops)
            if connection.frames_wait:
                self._unpolled.append(connection)
            self._drop_if_closed(connection)
        self._unpolled[:0] = left  # before those with waiting frames: two floods would otherwise be all that is read
        self._most_frames = min(2 * self._most_frames, MOST_FRAMES_A_SWEEP) if self._cut_short else FRAMES_A_SWEEP
        if reads:
            wanted_s = self._pace_s * FRAMES_A_READ * reads / max(frames, 1)
            self._pace_s = min(max(wanted_s, self._interval_s), self._sparse_s)
        if self._held_back:
            self._let_go()
        return busy

    def _hold_back(self, buffer: FrameBuffer) -> None:
        if buffer not in self._held_back:
            buffer.behind_since_ns = self._clock.now_ns()
            self._stats.add("net_held_back_total", venue=buffer.name)
            log.warning("reading is held back venue=%s frames=%d bytes=%d reason=frames wait to be parsed",
                        buffer.name, len(buffer.stops), buffer.end)
        self._held_back[buffer] = self._clock.monotonic()

    def _let_go(self) -> None:
        now = self._clock.monotonic()
        for buffer in [buffer for buffer, held_at in self._held_back.items() if now - held_at > FULL_SPEED_AFTER_S]:
            del self._held_back[buffer]
            buffer.behind_since_ns = 0
            log.warning("reading at full speed again venue=%s", buffer.name)
