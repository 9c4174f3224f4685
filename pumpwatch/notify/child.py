"""Run a program with bounds on its time and its output.

A service may hang, redirect, or answer without end. So each message is sent by a program of its own, which is killed with
everything it started when its time is over. It is started by posix_spawn, which copies no memory of the collector.
The call waits in a native thread and uses neither the hub nor a signal.
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

KEPT_BYTES = 4096  # of the output; the last ones
PIECE_BYTES = 65_536
UNKNOWN = 256  # no exit code is that high
LEFT_BYTES = 1 << 20  # the most that a pipe holds
_DEFAULT_SIGNALS = (signal.SIGPIPE, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)  # whatever the collector does with them

_running: set[int] = set()  # process ids
_starting = get_original("_thread", "allocate_lock")()  # a program that is started is in `_running` before it is looked for


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of a program.

    code: its exit code, negative for a signal, None if it was killed because its time was over, UNKNOWN if another part of the
    process took it, as gevent's subprocess does.
    """

    code: int | None
    output: bytes


def run_child(words: Sequence[str], given: bytes, within_s: float, environ: Mapping[str, str] | None = None) -> Ended:
    """Run a program without a shell, with `given` on stdin; return its end and the last KEPT_BYTES of stdout and stderr.

    Blocks for `within_s` seconds at most. A program need not read its stdin. Raises OSError where it cannot be
    started.
    """
    given_out, given_in = os.pipe()
    output_out, output_in = os.pipe()
    try:
        spawn = get_original("os", "posix_spawnp")  # gevent's own is for the main thread alone
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
    """Kill every program that `run_child` waits for, with all that it started. For the end of the process."""
    with _starting:
        pids = tuple(_running)
    for pid in pids:
        with suppress(ProcessLookupError):
            os.killpg(pid, number)  # it leads a session of its own


class _Child:
    """A running program and our ends of its pipes."""

    def __init__(self, pid: int, given: int, output: int) -> None:
        self._pid, self._given, self._output = pid, given, output
        self._ended = os.pidfd_open(pid)
        self._open = {given, output, self._ended}
        self._kept = b""
        for handle in (given, output):
            os.set_blocking(handle, False)

    def wait(self, given: bytes, deadline_s: float) -> Ended:
        """Feed it and read it until it ends, or until the deadline."""
        try:
            in_time = self._attend(memoryview(given), deadline_s)
            if not in_time:
                with suppress(ProcessLookupError):
                    os.killpg(self._pid, signal.SIGKILL)
            _running.discard(self._pid)  # before another process can get its id
            code = self._reap()
            for _ in range(LEFT_BYTES // PIECE_BYTES):  # bounded: what it left running may print on for ever
                if not self._read():
                    break
            return Ended(code if in_time else None, self._kept)
        finally:
            for handle in self._open:
                close_now(handle)

    def _attend(self, given: memoryview, deadline_s: float) -> bool:
        """Return whether it ended by itself."""
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
        """Write a piece; return what is left, nothing where the program reads no more."""
        try:
            return given[os.write(self._given, given[:PIECE_BYTES]):]
        except BlockingIOError:
            return given
        except OSError:
            return given[:0]

    def _read(self) -> bool:
        """Read a piece; return whether there was one."""
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
