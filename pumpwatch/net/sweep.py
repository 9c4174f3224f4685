"""The one greenlet that reads every socket.

It sweeps an epoll set of its own every few milliseconds and reads whatever is ready, instead of waking a greenlet a socket
and a frame: at 50,000 frames/s that is the difference between a sixth of a core and all of it. While a listing
window is open it sweeps every millisecond, so that received_at is sharp when it counts. It stops reading a venue
whose frames pile up unparsed, by their bytes or by their number: the kernel's buffers fill, TCP holds the sender back, nothing
here grows without bound, and the other venues are read as ever.
"""

from __future__ import annotations

import logging
import select
from collections.abc import Callable

import gevent
from gevent import monkey

from pumpwatch.clock import Clock
from pumpwatch.net.connection import Connection
from pumpwatch.net.frames import FrameBuffer
from pumpwatch.stats import Stats

log = logging.getLogger(__name__)

READY = select.EPOLLIN | select.EPOLLRDHUP if hasattr(select, "EPOLLIN") else 0x2001
UNREADABLE = (OSError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, BufferError)
SHORTEST_PAUSE_S = 0.0001  # gevent.sleep(0) would starve timers
MAX_PENDING_FRAMES = 50_000  # of a venue: a third of a second of the busiest venue there could be
LAST_READS = 64  # of a connection before it is closed: more than the kernel holds for it
AT_EASE_S = 5.0  # a venue that was not held back for so long is read at full speed again


class Sweep:
    """Reads every added connection, and calls `after` each time; `interval_s` apart, or `quick_s` while a window is open."""

    def __init__(self, clock: Clock, stats: Stats, interval_s: float, quick_s: float, max_pending_bytes: int,
                 after: Callable[[], None] = lambda: None, max_pending_frames: int = MAX_PENDING_FRAMES) -> None:
        self._clock, self._stats, self._after = clock, stats, after
        self._interval_s, self._quick_s = interval_s, quick_s
        self._max_pending_bytes, self._max_pending_frames = max_pending_bytes, max_pending_frames
        self._quick = False
        self._epoll = monkey.get_original("select", "epoll")()
        self._connections: dict[int, Connection] = {}
        self._fresh: list[Connection] = []  # the handshake may have left frames in them that epoll knows nothing of
        self._held_back: dict[FrameBuffer, float] = {}  # when they last were
        self._stopped = False

    def add(self, connection: Connection) -> None:
        """Read this connection from the next sweep on."""
        number = connection.stream.fileno()
        self._connections[number] = connection
        self._epoll.register(number, READY)
        self._fresh.append(connection)

    def remove(self, connection: Connection) -> None:
        """Stop reading it; call before the stream is closed. Harmless when it was removed before."""
        number = connection.stream.fileno()
        if self._connections.get(number) is connection:
            del self._connections[number]
            self._epoll.unregister(number)

    def hasten(self, quick: bool) -> None:
        """Sweep quickly, until told otherwise."""
        self._quick = quick

    def run(self) -> None:
        """Sweep until `stop`; the body of a supervised greenlet."""
        while not self._stopped:
            started = self._clock.monotonic()
            self.once()
            self._after()
            interval = self._quick_s if self._quick else self._interval_s
            gevent.sleep(max(SHORTEST_PAUSE_S, interval - (self._clock.monotonic() - started)))

    def stop(self) -> None:
        """End `run` at its next turn."""
        self._stopped = True

    def drain(self, connection: Connection) -> None:
        """Read what has arrived on one connection, to its end, before it is closed: whatever waits to be parsed."""
        for _ in range(LAST_READS):
            before = connection.bytes_read
            if not connection.closed:
                self._read(connection)
            if connection.bytes_read == before:
                return

    def _read(self, connection: Connection) -> None:
        try:
            connection.sweep(self._clock.now_ns())
        except UNREADABLE as error:
            log.exception("reading failed connection=%s", connection.name)
            connection.close(f"reading failed: {type(error).__name__} {error}")

    def _drop_if_closed(self, connection: Connection) -> None:
        if connection.closed:
            self.remove(connection)

    def once(self) -> None:
        """Read everything that is ready now. A connection whose reading fails is closed, and the others are read on."""
        fresh, self._fresh = self._fresh, []
        ready = [self._connections.get(number) for number, _ in self._epoll.poll(0)]
        for connection in (*fresh, *ready):
            if connection is None or connection.closed:
                continue
            buffer = connection.buffer
            if buffer.end > self._max_pending_bytes or len(buffer.stops) >= self._max_pending_frames:
                self._hold_back(buffer)
                if connection in fresh:
                    self._fresh.append(connection)
                continue
            self._read(connection)
            self._drop_if_closed(connection)
        if self._held_back:
            self._let_go()

    def _hold_back(self, buffer: FrameBuffer) -> None:
        if buffer not in self._held_back:
            buffer.behind_since_ns = self._clock.now_ns()
            self._stats.add("net_held_back_total", venue=buffer.name)
            log.warning("reading is held back venue=%s frames=%d bytes=%d reason=they wait to be parsed",
                        buffer.name, len(buffer.stops), buffer.end)
        self._held_back[buffer] = self._clock.monotonic()

    def _let_go(self) -> None:
        now = self._clock.monotonic()
        for buffer in [one for one, held_at in self._held_back.items() if now - held_at > AT_EASE_S]:
            del self._held_back[buffer]
            buffer.behind_since_ns = 0
            log.warning("reading goes on at full speed venue=%s", buffer.name)
