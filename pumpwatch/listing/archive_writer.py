"""Write archives in a separate process, so that the hub is not blocked.

A thread that writes an archive shares Python's lock with the hub, which then waits for tens of ms, or longer on a busy machine.
The process is started before it is needed, because its imports take a while, and ended when no archive is due, to free its
memory. It reads requests from its standard input, one after the other, and answers on its standard output. It ends with its
input, so that it does not outlive the collector. If no process can be started, a thread writes the archives.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import logging
import os
import pickle
import signal
import struct
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Protocol

import gevent
import numpy as np
from gevent.monkey import get_original
from gevent.threadpool import ThreadPool

from pumpwatch.catalogue import Catalogue, VenueKey
from pumpwatch.descriptors import close_now
from pumpwatch.errors import StorageError
from pumpwatch.listing.archive import Archive, Pass, Span, write_archive
from pumpwatch.listing.parquet_file import parquet_pieces, pyarrow_version
from pumpwatch.listing.validation import isolated
from pumpwatch.model import Gap, Instrument, TradeBatch
from pumpwatch.store.query import QueryPart

log = logging.getLogger(__name__)

PROGRAM = "from pumpwatch.listing.archive_writer import serve; serve()"
_spawn, _wait = get_original("os", "posix_spawn"), get_original("os", "waitpid")  # gevent's work in the hub's thread only
PIPE_BYTES = 1 << 20  # with 64 KiB the processes would switch hundreds of times for a busy coin
LONGEST_S = 300.0  # many millions of trades take a minute
TRIES = 2  # the first request notices a process that ended while idle

Rows = Sequence[tuple[VenueKey, Instrument]]


class ArchiveWriter(Protocol):
    """Writes one archive at a time. Only `write` makes the calling greenlet wait."""

    def write(self, archive_dir: Path, span: Span, batch: TradeBatch, catalogue: Catalogue, parts: Sequence[QueryPart],
              gaps: Sequence[Gap], made: Pass) -> Archive:
        """Write an archive, like `archive.write_archive`."""

    def prepare(self) -> None:
        """Get ready for a `write` that comes soon."""

    def rest(self) -> None:
        """Free memory until the next `prepare` or `write`."""

    def close(self) -> None:
        """Finish the archive that is being written, and write no more."""


class ArchiveThread:
    """Writes archives in a thread."""

    def __init__(self) -> None:
        self._thread = ThreadPool(1)

    def write(self, archive_dir: Path, span: Span, batch: TradeBatch, catalogue: Catalogue, parts: Sequence[QueryPart],
              gaps: Sequence[Gap], made: Pass) -> Archive:
        """Write an archive, like `archive.write_archive`."""
        archive: Archive = self._thread.apply(write_archive, (archive_dir, span, batch, catalogue, parts, gaps, made))
        return archive

    def prepare(self) -> None:
        """Do nothing: a thread is ready at once."""

    def rest(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class ArchiveProcess:
    """Writes archives in a separate process. A thread of this class starts it, exchanges messages with it, and waits for it."""

    def __init__(self, program: tuple[str, ...] = (sys.executable, "-P", "-c", PROGRAM)) -> None:
        self._program = program
        self._thread = ThreadPool(1)
        self._child: _Child | None = None
        self._wanted = False

    @property
    def pid(self) -> int | None:
        """Return the pid of the process; None without a process."""
        return None if self._child is None else self._child.pid

    def prepare(self) -> None:
        """Start the process in the background."""
        if not self._wanted:
            self._wanted = True
            self._thread.spawn(self._start)

    def rest(self) -> None:
        """End the process in the background."""
        if self._wanted:
            self._wanted = False
            self._thread.spawn(self._end)

    def close(self) -> None:
        """End the process after it has written its archive, in the background."""
        self.rest()

    def write(self, archive_dir: Path, span: Span, batch: TradeBatch, catalogue: Catalogue, parts: Sequence[QueryPart],
              gaps: Sequence[Gap], made: Pass) -> Archive:
        """Write an archive, like `archive.write_archive`.

        Raises StorageError if the process ends without an answer TRIES times. A process that takes LONGEST_S is killed.
        """
        self._wanted = True
        watch = gevent.spawn(self._kill_late)
        try:
            archive: Archive = self._thread.apply(self._write, (archive_dir, span, batch, catalogue, parts, gaps, made))
        finally:
            watch.kill()
        return archive

    def _kill_late(self) -> None:
        while True:
            gevent.sleep(LONGEST_S)
            if (pid := self.pid) is not None:
                log.warning("archive process killed reason=it has not answered for %.0f s", LONGEST_S)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def _start(self) -> None:
        if self._child is None and self._program[0]:
            try:
                self._child = _Child(self._program)
            except OSError as error:
                log.warning("archives are written in a thread reason=the process cannot be started: %s", error.strerror or error)

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.end()

    def _write(self, archive_dir: Path, span: Span, batch: TradeBatch, catalogue: Catalogue, parts: Sequence[QueryPart],
               gaps: Sequence[Gap], made: Pass) -> Archive:
        rows, lean = lean_copy(catalogue, span.coin, batch)
        for _ in range(TRIES):
            self._start()
            if self._child is None:
                return write_archive(archive_dir, span, batch, catalogue, parts, gaps, made)
            try:
                answer = self._child.ask((archive_dir, span, lean, rows, parts, gaps, made))
            except (OSError, EOFError, pickle.UnpicklingError):
                self._end()
                continue
            if isinstance(answer, Exception):
                raise answer
            found: Archive = answer
            return found
        raise StorageError("the process that writes archives ended without an answer", "check the kernel log for the OOM killer;"
                           " after an upgrade, restart the collector")


def lean_copy(catalogue: Catalogue, coin: str, batch: TradeBatch) -> tuple[Rows, TradeBatch]:
    """Return the instruments for a coin's archive, and the batch with their places in that list as ids.

    The instruments are the coin's, and one of each venue that does not list the coin.
    """
    ids = catalogue.matching(coin)
    others: dict[VenueKey, int] = {}
    for number, venue in enumerate(list(catalogue.venues)):
        others.setdefault(venue, number)
    for number in ids:
        others.pop(catalogue.venues[number], None)
    kept = [*ids, *others.values()]
    place = np.zeros(len(catalogue.instruments), np.int32)
    place[kept] = np.arange(len(kept))
    wanted = np.zeros(len(place), bool)
    wanted[ids] = True
    if not (rows := wanted[batch.instrument]).all():
        batch = batch.take(rows)
    columns: list[Any] = list(batch.columns())
    columns[1] = place[batch.instrument]
    return [(catalogue.venues[number], catalogue.instruments[number]) for number in kept], TradeBatch(*columns)


class _Child:
    """A running process and its pipes. The methods block."""

    def __init__(self, program: tuple[str, ...]) -> None:
        theirs, ours = os.pipe()
        answers, theirs_out = os.pipe()
        with contextlib.suppress(OSError):  # the user's limit for pipe buffers may be used up
            fcntl.fcntl(ours, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        try:
            self.pid = _spawn(program[0], program, os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                              file_actions=[(os.POSIX_SPAWN_DUP2, theirs, 0), (os.POSIX_SPAWN_DUP2, theirs_out, 1)])
        except OSError:
            close_now(ours)
            close_now(answers)
            raise
        finally:
            close_now(theirs)
            close_now(theirs_out)
        self._to, self._from = io.FileIO(ours, "w"), io.FileIO(answers, "r")

    def ask(self, request: Any) -> Any:
        """Return the answer to a request. Raises OSError, EOFError or UnpicklingError if the process has ended."""
        send(self._to, request)
        return receive(self._from)

    def end(self) -> None:
        """Close its input and wait until it ends."""
        self._to.close()
        self._from.close()
        try:
            _wait(self.pid, 0)
        except ChildProcessError:
            pass  # gevent's loop has reaped it


def send(out: IO[bytes] | io.FileIO, message: Any) -> None:
    """Write a message; numpy columns are written without a copy. Raises OSError."""
    buffers: list[pickle.PickleBuffer] = []
    head = pickle.dumps(message, protocol=5, buffer_callback=buffers.append)
    parts: list[memoryview] = [memoryview(head), *(buffer.raw() for buffer in buffers)]
    sizes = struct.pack(f"<I{len(parts)}Q", len(parts), *map(len, parts))
    for left in (memoryview(sizes), *parts):
        while left:
            left = left[out.write(left):]


def receive(source: IO[bytes] | io.FileIO) -> Any:
    """Return the next message of `send`. Raises EOFError at the end, UnpicklingError for invalid data."""
    (count,) = struct.unpack("<I", _read(source, 4))
    sizes = struct.unpack(f"<{count}Q", _read(source, 8 * count))
    head, *buffers = (_read(source, size) for size in sizes)
    return pickle.loads(head, buffers=buffers)


def _read(source: IO[bytes] | io.FileIO, size: int) -> bytearray:
    content = bytearray(size)
    left = memoryview(content)
    while left:
        count = source.readinto(left)  # type: ignore[union-attr]
        if not count:
            raise EOFError
        left = left[count:]
    return content


def serve() -> None:
    """Write an archive for each request on standard input, until it ends. This is the body of the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the collector, which ends this process
    source, out = io.FileIO(os.dup(0), "r"), io.FileIO(os.dup(1), "w")
    os.dup2(2, 1)  # prints must not mix with answers
    if pyarrow_version():
        list(parquet_pieces(TradeBatch.empty(), [], Catalogue()))  # imports pyarrow now, so that the first archive need not wait
    while True:
        try:
            send(out, _answer(*receive(source)))
        except (EOFError, OSError):
            return


def _answer(archive_dir: Path, span: Span, batch: TradeBatch, rows: Rows, parts: Sequence[QueryPart], gaps: Sequence[Gap],
            made: Pass) -> Archive | Exception:
    """Return the written archive, or the error to raise in the collector."""
    catalogue = Catalogue()
    for venue, instrument in rows:
        catalogue.add(venue, instrument)
    answers: list[Archive | Exception] = []
    try:
        isolated(lambda: answers.append(write_archive(archive_dir, span, batch, catalogue, parts, gaps, made)), answers.append)
    except StorageError as error:
        answers.append(error)
    return answers[0]
