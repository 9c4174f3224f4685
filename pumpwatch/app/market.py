"""Run the process that makes market data: start it once a collector has run for a minute, and again whenever it ends.

The collector only reads its output lines: figures, rows of its jobs, and log lines. A silent process is killed.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from contextlib import suppress
from typing import Any

import gevent
import gevent.os
import msgspec
from gevent.monkey import get_original
from gevent.threadpool import ThreadPool

from pumpwatch.app.parts import CollectorParts
from pumpwatch.descriptors import close_now

log = logging.getLogger(__name__)

PROGRAM = "from pumpwatch.market.process import serve; serve()"
WORDS = (sys.executable, "-P", "-c", PROGRAM)
_spawn, _wait = get_original("os", "posix_spawn"), get_original("os", "waitpid")  # gevent's run in the hub's thread alone
AFTER_START_S = 60.0  # a short run does not pay for it
SILENT_S = 120.0
AGAIN_S, LONGEST_AGAIN_S = 5.0, 600.0  # pauses between two starts; each is twice the one before it
GOOD_AFTER_S = 600.0  # a process that ran this long was healthy
LINE_BYTES = 1 << 20


class MarketProcess:
    """The process, its state, and the greenlet that supervises it."""

    def __init__(self, collector: CollectorParts, words: tuple[str, ...] = WORDS, after_s: float = AFTER_START_S) -> None:
        self._collector, self._words, self._after_s = collector, words, after_s
        self._thread = ThreadPool(1)
        self._stopped = False
        self._figures: dict[str, Any] = {}
        self._jobs: list[dict[str, Any]] = []
        self._problem = ""  # until its figures come, that of the run before
        self._why_ended = ""  # why this run ends
        self.pid = 0  # 0: it does not run
        self.starts = 0

    def start(self) -> None:
        """Start the process in a minute, if the config enables market data."""
        if self._collector.config.market.enabled:
            self._collector.supervisor.spawn("market", self.run)

    def status(self) -> dict[str, Any]:
        """Return the state: pid (0: it does not run), starts, the last problem, and the process's own figures."""
        return {"enabled": self._collector.config.market.enabled, "pid": self.pid, "starts": self.starts,
                "problem": self._problem, **self._figures}

    def rows(self) -> list[dict[str, Any]]:
        """Return a row for each job of the process, as `Scheduler.rows` does."""
        return self._jobs if self.pid else []

    def stop(self) -> None:
        """Kill the process. Returns at once: a kill never damages its store."""
        self._stopped = True
        self._kill()

    def _kill(self) -> None:
        if self.pid:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def run(self) -> None:
        """Start and supervise the process, until `stop`."""
        gevent.sleep(self._after_s)
        pause_s, logged = AGAIN_S, ""
        while not self._stopped:
            began = self._collector.clock.monotonic()
            try:
                for_good = self._run_once()
            except OSError as error:
                self._set_problem(f"it cannot be started: {error.strerror or error}")
                for_good = False
            if for_good or self._stopped:
                return
            if self._collector.clock.monotonic() - began >= GOOD_AFTER_S:
                pause_s, logged = AGAIN_S, ""
            if self._problem != logged:  # once while it cannot work, as on a full disk
                log.warning("the process that makes market data has ended, it starts again in_s=%.0f reason=%s", pause_s,
                            self._problem)
            logged = self._problem
            gevent.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_AGAIN_S)

    def _set_problem(self, problem: str) -> None:
        self._problem = self._why_ended = problem

    def _run_once(self) -> bool:
        """Start the process and read its lines until it ends; return whether it must not be started again."""
        theirs, given = os.pipe()
        output, theirs_out = os.pipe()
        try:
            environ = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
            self.pid = _spawn(self._words[0], self._words, environ, setsigmask=(), setsigdef=(signal.SIGTERM, signal.SIGINT),
                              file_actions=[(os.POSIX_SPAWN_DUP2, theirs, 0), (os.POSIX_SPAWN_DUP2, theirs_out, 1)])
        except OSError:
            close_now(given)
            close_now(output)
            raise
        finally:
            close_now(theirs)
            close_now(theirs_out)
        self.starts += 1
        self._why_ended = ""
        try:
            gevent.os.make_nonblocking(given)
            gevent.os.make_nonblocking(output)
            with suppress(BrokenPipeError):
                line = memoryview(msgspec.json.encode(self._collector.config) + b"\n")
                while line:
                    line = line[gevent.os.nb_write(given, line):]
            return self._read_lines(output)
        finally:
            self._kill()
            close_now(given)
            close_now(output)
            pid, self.pid = self.pid, 0
            self._problem = self._why_ended or "it ended"
            self._thread.apply(reap, (pid,))

    def _read_lines(self, output: int) -> bool:
        held, for_good = b"", False
        while (piece := self._piece(output)):
            *lines, held = (held + piece).split(b"\n")
            held = held[-LINE_BYTES:]
            for line in lines:
                for_good |= self._apply_line(line)
        return for_good

    def _piece(self, output: int) -> bytes:
        """Return the next bytes of the process; none if it has ended or was silent for SILENT_S."""
        try:
            with gevent.Timeout(SILENT_S, TimeoutError):
                piece: bytes = gevent.os.nb_read(output, 1 << 16)
                return piece
        except TimeoutError:
            self._set_problem(f"it said nothing for {SILENT_S:.0f} s")
            return b""

    def _apply_line(self, line: bytes) -> bool:
        """Log a line of the process, or keep its figures; return whether the process must not be started again."""
        try:
            message = msgspec.json.decode(line, type=dict[str, Any])
        except msgspec.DecodeError:
            return False
        if "log" in message:
            log.log(int(message.get("level", logging.INFO)), "%s", message["log"])
        elif "failed" in message:
            self._set_problem(str(message["failed"]))
            if message.get("for_good"):
                log.error("no market data are made: %s", message["failed"])
            return bool(message.get("for_good"))
        else:
            self._problem = ""
            self._figures, self._jobs = message.get("figures", {}), message.get("jobs", [])
        return False


def reap(pid: int) -> None:
    """Wait until a child has ended. Runs in a native thread, where an error would be printed with a traceback."""
    with suppress(ChildProcessError):  # gevent's loop may have noticed its end before
        _wait(pid, 0)
