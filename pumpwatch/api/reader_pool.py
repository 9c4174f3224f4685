"""Processes that read stored trades for the API. They are started on demand and ended when they are idle.

Only the hub uses this module. A process serves one request at a time. If the request is abandoned, because its client has
disconnected or is too slow, the process is killed. A client that reads less than LEAST_BYTES within PACE_S is disconnected once
another request finds all processes busy.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import msgspec
from gevent import socket
from gevent.lock import BoundedSemaphore
from gevent.monkey import get_original
from gevent.threadpool import ThreadPool

from pumpwatch.api.trade_reader import BUFFER_BYTES, HEAD, Outcome, Start, WantedTrades
from pumpwatch.config import Config
from pumpwatch.errors import PumpWatchError, ServiceUnavailable
from pumpwatch.stats import Stats

log = logging.getLogger(__name__)

PROGRAM = (sys.executable, "-P", "-c", "from pumpwatch.api.trade_reader import serve; serve()")
WAIT_S = 5.0  # for a free process
FIRST_S = 60.0  # for the first piece of an answer, and for each further piece
LONGEST_S = 900.0  # for a whole answer
IDLE_S = 60.0
PACE_S, LEAST_BYTES = 30.0, 3_000_000  # 100 kB/s
PIECE_BYTES = 262_144
YIELD_S = 0.0001  # sleep(0) would starve timers

_spawn, _wait = get_original("os", "posix_spawn"), get_original("os", "waitpid")


class Busy(ServiceUnavailable):
    """All reader processes are busy."""


class ReaderPool:
    """A pool of at most `most` processes. now: returns monotonic seconds, by default those of the hub."""

    def __init__(self, config: Config, stats: Stats, most: int, now: Callable[[], float] | None = None,
                 wait_s: float = WAIT_S) -> None:
        self._config, self._stats, self._wait_s = config, stats, wait_s
        self.now = now or gevent.get_hub().loop.now
        self._leases: dict[_Lease, None] = {}  # the oldest first
        self._free = BoundedSemaphore(most)
        self._idle: list[_Reader] = []
        self._threads = ThreadPool(max(2, most))  # starts processes and waits for their end
        self.pids: set[int] = set()

    def read(self, wanted: WantedTrades) -> Iterator[bytes]:
        """Return the pieces of an answer once its status is known. Closing the iterator abandons the answer.

        If all processes are busy, a slow client loses its process. Raises Busy if they stay busy for WAIT_S, and Refused with the
        status of an error.
        """
        if self._free.locked():
            self._drop_slow_client()
        if not self._free.acquire(timeout=self._wait_s):
            raise Busy("other requests are reading stored trades: try again later")
        lease = _Lease(self)
        self._leases[lease] = None
        try:
            lease.begin(wanted)
        except BaseException:
            lease.give_up()
            raise
        return lease.pieces()

    def _drop_slow_client(self) -> None:
        for lease in self._leases:
            if lease.progress.is_slow(self.now()):
                log.warning("slow api client disconnected, others wait pid=%s least_kb_per_s=%d", lease.pid,
                            LEAST_BYTES // PACE_S // 1000)
                lease.give_up()
                return

    def forget(self, lease: _Lease) -> None:
        """Remove a request that has ended."""
        self._leases.pop(lease, None)

    def take_reader(self) -> _Reader:
        """Return an idle process, or a new one, for one request. Raises ServiceUnavailable if none can be started."""
        reader = self._idle.pop() if self._idle else self._start()
        if reader.expiry is not None:
            reader.expiry.kill()
            reader.expiry = None
        return reader

    def _start(self) -> _Reader:
        parent_end, child_end = socket.socketpair()
        parent_end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        child_end.setblocking(True)
        os.set_blocking(child_end.fileno(), True)
        environ = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        actions = [(os.POSIX_SPAWN_DUP2, child_end.fileno(), 0), (os.POSIX_SPAWN_DUP2, 2, 1)]
        try:
            pid: int = self._threads.apply(_spawn, (PROGRAM[0], PROGRAM, environ), {"file_actions": actions})
        except OSError as error:
            parent_end.close()
            raise ServiceUnavailable(f"no reader process can be started: {error.strerror or error}") from error
        finally:
            child_end.close()
        self._stats.add("api_readers_started_total")
        self.pids.add(pid)
        reader = _Reader(pid, parent_end)
        try:
            reader.send(msgspec.json.encode(Start(self._config)))
        except OSError as error:  # it has ended already: reap it
            self.end(reader)
            raise ServiceUnavailable(f"the reader process ended at its start: {error.strerror or error}") from error
        return reader

    def put_back(self, reader: _Reader) -> None:
        """Keep a process for the next request, for at most IDLE_S."""
        reader.expiry = gevent.spawn_later(IDLE_S, self._expire, reader)
        self._idle.append(reader)
        self._free.release()

    def _expire(self, reader: _Reader) -> None:
        if reader in self._idle:
            self._idle.remove(reader)
            self.end(reader)

    def discard(self, reader: _Reader | None) -> None:
        """Kill the process of an abandoned request, if it has one."""
        if reader is not None:
            self.end(reader)
        self._free.release()

    def end(self, reader: _Reader) -> None:
        """Kill a process; a thread waits for its end."""
        reader.socket.close()
        self.pids.discard(reader.pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(reader.pid, signal.SIGKILL)
        self._threads.spawn(_reap, reader.pid)

    def close(self) -> None:
        """Kill all idle processes. A busy one ends with its answer."""
        for reader in self._idle:
            if reader.expiry is not None:
                reader.expiry.kill()
            self.end(reader)
        self._idle.clear()


class Refused(PumpWatchError):
    """The reader answers with an error status and its reason."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.detail)
        self.outcome = outcome


class _Reader:
    """One process and the socket to it."""

    def __init__(self, pid: int, sock: Any) -> None:
        self.pid, self.socket = pid, sock
        self.expiry: Any = None

    def send(self, content: bytes) -> None:
        """Send a request. Raises OSError if the process has ended."""
        self.socket.settimeout(FIRST_S)
        self.socket.sendall(HEAD.pack(b"Q", len(content)) + content)

    def head(self) -> tuple[bytes, int]:
        """Return kind and length of the next message. Raises ServiceUnavailable if the process has ended."""
        kind, length = HEAD.unpack(b"".join(self.content(HEAD.size)))
        return kind, length

    def content(self, size: int) -> Iterator[bytes]:
        """Yield `size` bytes in pieces. Raises ServiceUnavailable if the process has ended or hangs."""
        while size:
            try:
                piece = self.socket.recv(min(size, PIECE_BYTES))
            except OSError as error:
                raise ServiceUnavailable(f"the reader process does not answer: {error}") from error
            if not piece:
                raise ServiceUnavailable("the reader process has ended", "raise api.reader_memory_bytes if it ran out of memory")
            size -= len(piece)
            yield piece


class _Progress:
    """Measures how fast a client reads its answer. Times are monotonic seconds; waiting for the store does not count."""

    def __init__(self) -> None:
        self._taken_bytes, self._held_up_s = 0, 0.0  # of the current window
        self._since_s: float | None = None
        self._slow = False

    def offered(self, now_s: float) -> None:
        """Record that the client is given a piece."""
        self._since_s = now_s

    def taken(self, size: int, now_s: float) -> None:
        """Record that the client has read the piece of `size` bytes."""
        if self._since_s is not None:
            self._held_up_s += now_s - self._since_s
        self._since_s = None
        self._taken_bytes += size
        if self._held_up_s >= PACE_S:
            self._slow = self._taken_bytes < LEAST_BYTES
            self._taken_bytes, self._held_up_s = 0, 0.0

    def is_slow(self, now_s: float) -> bool:
        """Return whether the client has read less than LEAST_BYTES in its last PACE_S of reading."""
        held_up_s = self._held_up_s + (now_s - self._since_s if self._since_s is not None else 0.0)
        return self._taken_bytes < LEAST_BYTES if held_up_s >= PACE_S else self._slow


class _Lease:
    """One request and its process, which is returned to the pool or killed, once."""

    def __init__(self, pool: ReaderPool) -> None:
        self._pool, self.progress = pool, _Progress()
        self._reader: _Reader | None = None
        self._over = False

    @property
    def pid(self) -> int | None:
        """Return the id of the process."""
        return self._reader.pid if self._reader is not None else None

    def begin(self, wanted: WantedTrades) -> None:
        """Send the request and read the status of its answer. Raises Refused, ServiceUnavailable."""
        reader, length = self._send(msgspec.json.encode(wanted))
        outcome = msgspec.json.decode(b"".join(reader.content(length)), type=Outcome)
        if outcome.status != 200:
            self._give_back()
            raise Refused(outcome)

    def _send(self, request: bytes) -> tuple[_Reader, int]:
        """Return the process and the length of its first message; replace a process that ended while it was idle, once."""
        self._reader = self._pool.take_reader()
        try:
            self._reader.send(request)
            return self._reader, self._reader.head()[1]
        except (OSError, ServiceUnavailable):
            self._pool.end(self._reader)
            self._reader = None
        self._reader = self._pool.take_reader()
        self._reader.send(request)
        return self._reader, self._reader.head()[1]

    def pieces(self) -> Iterator[bytes]:
        """Yield the answer. Raises ServiceUnavailable if it breaks off."""
        deadline_s = self._pool.now() + LONGEST_S
        try:
            while (reader := self._reader) is not None:
                kind, length = reader.head()
                if kind == b"E":
                    self._give_back()
                    return
                if kind != b"D":
                    raise ServiceUnavailable(b"".join(reader.content(length)).decode("utf-8", "replace"))
                for piece in reader.content(length):
                    self.progress.offered(self._pool.now())
                    yield piece
                    self.progress.taken(len(piece), self._pool.now())
                    gevent.sleep(YIELD_S)
                    if self._over:
                        raise ServiceUnavailable("the client reads the answer too slowly, and others wait")
                if self._pool.now() > deadline_s:
                    raise ServiceUnavailable(f"the answer took longer than {LONGEST_S:.0f} s")
        finally:
            self.give_up()

    def _give_back(self) -> None:
        if self._reader is not None:
            self._over = True
            self._pool.forget(self)
            self._pool.put_back(self._reader)

    def give_up(self) -> None:
        """Kill the process unless it was returned to the pool."""
        if not self._over:
            self._over = True
            self._pool.forget(self)
            self._pool.discard(self._reader)


def _reap(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):  # gevent's loop has reaped it already
        _wait(pid, 0)
