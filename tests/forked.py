"""A process that does not import PumpWatch again: it is forked from one that has.

`pumpwatch ARGS...`, the simulated venues of SimProcess, and modules of tests. Half of the CPU of a test that runs them for some
seconds would go into imports. The processes that fork, one for each kind, have no hub, no thread and no open file, so that a fork
is in the state of `python -m pumpwatch` after its imports. `packaging/run`, the zipapp, the commands and the simulator are
started from nothing by tests of their own.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
TICK_MS = 40.0


class Forked:
    """A process as subprocess.Popen has it, with the same names. `of` names a function of tests.forks."""

    def __init__(self, arguments: list[str], folder: Path, files: Sequence[int], of: str = "pumpwatch",
                 env: dict[str, str] | None = None, module: str = "", before: str = "") -> None:
        """Start it in a folder. `files`: stdin, stdout and stderr; `env`: the environment, None for that of this process.

        module: it runs this module, as `python -m MODULE ARGS...` does, instead of what its function starts.
        before: Python statements that it runs first, as to shorten what it waits for.
        """
        self.returncode: int | None = None
        self.stdin: IO[bytes] | None = None
        self.stdout: IO[bytes] | None = None
        self._report, theirs = os.pipe()
        request = json.dumps({"arguments": arguments, "folder": str(folder), "environ": dict(os.environ if env is None else env),
                              "module": module, "before": before})
        socket.send_fds(_forks(of), [request.encode()], [*files, theirs])
        os.close(theirs)
        self.pid = self._number()

    def poll(self) -> int | None:
        """Return the exit code, None while it runs."""
        if self.returncode is None and select.select([self._report], [], [], 0)[0]:
            self._ended()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code. Raises subprocess.TimeoutExpired where it does not end in time."""
        if self.returncode is None:
            if not select.select([self._report], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0.0)
            self._ended()
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _number(self) -> int:
        data = os.read(self._report, 4)
        assert len(data) == 4, "the process that forks has ended"
        return int.from_bytes(data, "little", signed=True)

    def _ended(self) -> None:
        self.returncode = self._number()
        os.close(self._report)


class ForkedModule(Forked):
    """`python -m MODULE ARGS...` in a process with pipes of text for its stdin and stdout, in the folder of the repository.

    patched: with gevent's patches from the start.
    """

    stdin: IO[str]  # type: ignore[assignment]
    stdout: IO[str]  # type: ignore[assignment]

    def __init__(self, module: str, *arguments: str, patched: bool = False) -> None:
        (stdin, given), (output, stdout) = os.pipe(), os.pipe()
        super().__init__(list(arguments), ROOT, (stdin, stdout, 2), "pumpwatch" if patched else "venues", module=module)
        os.close(stdin)
        os.close(stdout)
        self.stdin, self.stdout = os.fdopen(given, "w"), os.fdopen(output)

    def communicate(self, timeout: float | None = None) -> str:
        """Close its stdin, wait for its end, and return what it printed since. Raises subprocess.TimeoutExpired."""
        self.stdin.close()
        with self.stdout:
            printed = self.stdout.read()
        self.wait(timeout)
        return printed


def forked_venues(options: str) -> Forked:
    """Start simulated venues as `pumpwatch.sim.process.launch` does, which tells more.

    They trade in steps of TICK_MS unless the options have others: a step costs more than the trades in it.
    """
    (stdin, commands), (answers, stdout) = os.pipe(), os.pipe()
    child = Forked([json.dumps({"tick_ms": TICK_MS, **json.loads(options)})], Path.cwd(), (stdin, stdout, 2), "venues")
    os.close(stdin)
    os.close(stdout)
    child.stdin, child.stdout = os.fdopen(commands, "wb"), os.fdopen(answers, "rb")
    return child


@functools.cache
def _forks(of: str) -> socket.socket:
    """Start the process that forks these, once for this process and with it to its end."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        forks = subprocess.Popen([sys.executable, "-m", "tests.forks", of, str(theirs.fileno())], cwd=ROOT,
                                 pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
    atexit.register(_end, ours, forks)
    return ours


def _end(requests: socket.socket, forks: subprocess.Popen[bytes]) -> None:
    requests.close()
    forks.wait(30)  # so that its CPU, and that of all it forked, counts as ours
