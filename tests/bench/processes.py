"""Child processes and what they use, read from /proc.

CPU is user and system time of the whole process, all its threads, in the kernel's ticks of 10 ms: over the shortest
window the bench takes (5 s) that is good to a tenth of a percent of a core.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
SERVICE_NICENESS = -5  # of pumpwatch.service, towards other services
T = TypeVar("T")


class BenchError(Exception):
    """A scenario cannot be measured; the text says why."""


@dataclass(frozen=True, slots=True)
class Usage:
    """The CPU time and memory of a process up to one moment."""

    at: float  # time.monotonic()
    cpu_s: float
    rss_bytes: int
    peak_rss_bytes: int


def usage(pid: int) -> Usage:
    """Return what the process has used so far. Raises ProcessLookupError when there is no such process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
        lines = Path(f"/proc/{pid}/status").read_text("utf-8", "replace").splitlines()
    except FileNotFoundError as error:
        raise ProcessLookupError(f"process {pid} has ended") from error
    now = time.monotonic()
    memory = {name: int(rest.split()[0]) * 1024 for name, _, rest in (line.partition(":") for line in lines)
              if name in ("VmRSS", "VmHWM")}
    # fields[0] is the third of proc(5): utime is the 14th, stime the 15th
    return Usage(now, (int(fields[11]) + int(fields[12])) / TICKS_PER_S, memory.get("VmRSS", 0), memory.get("VmHWM", 0))


class Child:
    """A process of ours, with its output in a file, ended by its pid."""

    def __init__(self, name: str, command: Sequence[str | Path], folder: Path, environ: Mapping[str, str]) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen([str(part) for part in command], cwd=folder, env={**os.environ, **environ},
                                             stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                                             start_new_session=True)  # the kernel divides the cores by session
        self.pid = self._process.pid

    def put_first(self) -> None:
        """Give it the share of the cores that pumpwatch.service has, where the kernel divides them by session and allows that."""
        with contextlib.suppress(OSError):
            Path(f"/proc/{self.pid}/autogroup").write_text(f"{SERVICE_NICENESS}", "ascii")

    def usage(self) -> Usage:
        """Return what it has used so far; raises BenchError with its last lines if it has ended."""
        code = self._process.poll()
        if code is not None:
            raise BenchError(f"{self.name} ended with {code}:\n{self.last_lines()}")
        return usage(self.pid)

    def last_lines(self, count: int = 12) -> str:
        """Return the end of its output."""
        return "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-count:])

    def end(self, patience_s: float = 20.0) -> int:
        """Ask it to end, kill it if it does not; return its exit code (negative: the signal)."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                return self._process.wait(patience_s)
            self._process.kill()
        return self._process.wait()


def await_that(what: str, found: Callable[[], T], timeout_s: float, pause_s: float = 0.1) -> T:
    """Return the first true result of `found`; raises BenchError naming `what` if there is none in time."""
    deadline = time.monotonic() + timeout_s
    while not (result := found()):
        if time.monotonic() > deadline:
            raise BenchError(f"waited {timeout_s:.0f} s in vain for {what}")
        time.sleep(pause_s)
    return result
