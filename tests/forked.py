"""`pumpwatch ARGS...` as a process of its own that does not import PumpWatch again: it is forked from one that has.

Half of the CPU of a test that runs a collector for some seconds would go into imports. The process that forks has no hub, no
thread and no open file, so that a fork is in the state of `python -m pumpwatch` after its imports. `packaging/run`, the zipapp
and the commands are started from nothing by tests of their own.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import select
import socket
import subprocess
import sys
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent


class Forked:
    """A process as subprocess.Popen has it, with the same names."""

    def __init__(self, arguments: list[str], folder: Path, output: IO[bytes]) -> None:
        self.returncode: int | None = None
        self._report, theirs = os.pipe()
        request = json.dumps({"arguments": arguments, "folder": str(folder), "environ": dict(os.environ)})
        with Path(os.devnull).open("rb") as nothing:
            socket.send_fds(_forks(), [request.encode()], [nothing.fileno(), output.fileno(), output.fileno(), theirs])
        os.close(theirs)
        self.pid = self._number()

    def poll(self) -> int | None:
        """Return the exit code, None while it runs."""
        if self.returncode is None and select.select([self._report], [], [], 0)[0]:
            self._ended()
        return self.returncode

    def wait(self, timeout: float) -> int:
        """Return the exit code. Raises subprocess.TimeoutExpired where it does not end in time."""
        if self.returncode is None:
            if not select.select([self._report], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
            self._ended()
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def _number(self) -> int:
        data = os.read(self._report, 4)
        assert len(data) == 4, "the process that forks has ended"
        return int.from_bytes(data, "little", signed=True)

    def _ended(self) -> None:
        self.returncode = self._number()
        os.close(self._report)


@functools.cache
def _forks() -> socket.socket:
    """Start the process that forks, once for this process and with it to its end."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        forks = subprocess.Popen([sys.executable, "-m", "tests.forks", str(theirs.fileno())], cwd=ROOT,
                                 pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
    atexit.register(_end, ours, forks)
    return ours


def _end(requests: socket.socket, forks: subprocess.Popen[bytes]) -> None:
    requests.close()
    forks.wait(30)  # so that its CPU, and that of all it forked, counts as ours
