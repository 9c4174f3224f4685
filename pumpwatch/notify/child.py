"""Run a program with limits on its time and its output.

A service may hang, redirect, or send an endless answer. So each message is sent by a separate process, which is killed with
everything it started when its time is over. posix_spawn starts it, which copies none of the collector's memory. The call waits
in a native thread and uses neither the hub nor a signal.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from gevent.monkey import get_original

from pumpwatch.descriptors import close_now

KEPT_BYTES = 4096  # the end of the output
PIECE_BYTES = 65_536
UNKNOWN = 256  # above every exit code
LEFT_BYTES = 1 << 20  # a pipe holds at most this much
_DEFAULT_SIGNALS = (signal.SIGPIPE, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)  # reset, as the collector handles them

_running: set[int] = set()  # process ids
_starting = get_original("_thread", "allocate_lock")()  # held from the start of a program until its pid is in `_running`


@dataclass(frozen=True, slots=True)
class EndedProgram:
    """The end of a program.

    code: its exit code; negative for a signal; None if it was killed when its time was over; UNKNOWN if another part of this
    process reaped it, as gevent's subprocess does.
    """

    code: int | None
    output: bytes


def run_child(words: Sequence[str], given: bytes, within_s: float, environ: Mapping[str, str] | None = None) -> EndedProgram:
    """Run a program without a shell, with `given` on stdin; return how it ended and the last KEPT_BYTES of stdout and stderr.

    Blocks for at most `within_s` seconds. The program need not read its stdin. Raises OSError if it cannot be started.
    """
    given_out, given_in = os.pipe()
    output_out, output_in = os.pipe()
    try:
        spawn = get_original("os", "posix_spawnp")  # gevent's version works in the main thread only
        with _starting:
            pid: int = spawn(
                words[0], list(words), dict(os.environ if environ is None else environ), setsid=True, setsigmask=(),
                setsigdef=_DEFAULT_SIGNALS,
                file_actions=[(os.POSIX_SPAWN_DUP2, given_out, 0), (os.POSIX_SPAWN_DUP2, output_in, 1),
                              (os.POSIX_SPAWN_DUP2, output_in, 2)])
            _running.add(pid)
    except BaseException:
        close_now(given_in)
        close_now(output_out)
        raise
    finally:
        close_now(given_out)
        close_now(output_in)
    return _Child(pid, given_in, output_out).wait(given, time.monotonic() + within_s)


def end_children(number: signal.Signals = signal.SIGKILL) -> None:
    """Kill every program that `run_child` waits for, and everything it started. For the end of this process."""
    with _starting:
        pids = tuple(_running)
    for pid in pids:
        with suppress(ProcessLookupError):
            os.killpg(pid, number)  # each program leads its own session


class _Child:
    """A running program and our ends of its pipes."""

    def __init__(self, pid: int, given: int, output: int) -> None:
        self._pid, self._given, self._output = pid, given, output
        self._ended = os.pidfd_open(pid)
        self._open = {given, output, self._ended}
        self._kept = b""
        for handle in (given, output):
            os.set_blocking(handle, False)

    def wait(self, given: bytes, deadline_s: float) -> EndedProgram:
        """Write its input and read its output until it ends, or until the deadline (monotonic)."""
        try:
            in_time = self._attend(memoryview(given), deadline_s)
            if not in_time:
                with suppress(ProcessLookupError):
                    os.killpg(self._pid, signal.SIGKILL)
            _running.discard(self._pid)  # before another process can get its id
            code = self._reap()
            for _ in range(LEFT_BYTES // PIECE_BYTES):  # bounded: a program that it left running may never stop printing
                if not self._read():
                    break
            return EndedProgram(code if in_time else None, self._kept)
        finally:
            for handle in self._open:
                close_now(handle)

    def _attend(self, given: memoryview, deadline_s: float) -> bool:
        """Return whether it ended before the deadline."""
        poll: select.poll = get_original("select", "poll")()
        poll.register(self._ended, select.POLLIN)
        poll.register(self._output, select.POLLIN)
        poll.register(self._given, select.POLLOUT)
        while (left_s := deadline_s - time.monotonic()) > 0:
            for handle, _ in poll.poll(left_s * 1000):
                if handle == self._ended:
                    return True
                if handle == self._output and not self._read():
                    poll.unregister(handle)
                if handle == self._given:
                    given = self._write(given)
                    if not given:
                        poll.unregister(handle)
                        close_now(handle)
                        self._open.discard(handle)
        return False

    def _write(self, given: memoryview) -> memoryview:
        """Write a piece; return the rest, which is empty if the program no longer reads."""
        try:
            return given[os.write(self._given, given[:PIECE_BYTES]):]
        except BlockingIOError:
            return given
        except OSError:
            return given[:0]

    def _read(self) -> bool:
        """Read a piece; return False at the end of the output or if nothing is ready."""
        try:
            piece = os.read(self._output, PIECE_BYTES)
        except OSError:
            return False
        self._kept = (self._kept + piece)[-KEPT_BYTES:]
        return bool(piece)

    def _reap(self) -> int:
        try:
            found = os.waitid(os.P_PIDFD, self._ended, os.WEXITED)
        except ChildProcessError:
            found = None
        if found is None:
            return UNKNOWN
        return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status
