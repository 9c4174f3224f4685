"""The body of the processes of `paper_starts`: lower the priority, limit the memory, then exec `pumpwatch ARGUMENTS`.

The priority, the memory limit and the death signal of the parent survive exec; child processes inherit the first two.
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from pumpwatch.notify.sender import end_with_parent

NICE = 19
NICE_SESSION = 10  # a tenth of the weight of another session
AUTOGROUP = Path("/proc/self/autogroup")  # each session has its own CPU share, which the nice value of a process does not lower


def lower(most_bytes: int) -> None:
    """Limit this process to a small share of busy cores, and to `most_bytes` of private memory."""
    with suppress(OSError):
        os.nice(NICE)
    if os.getsid(0) == os.getpid():  # otherwise other processes of the session would be slowed too
        with suppress(OSError):
            AUTOGROUP.write_text(str(NICE_SESSION))
    resource.setrlimit(resource.RLIMIT_DATA, (most_bytes, most_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main(given: Sequence[str]) -> None:
    """Run `pumpwatch` with the arguments after the first two, the parent's process id and the memory limit in bytes."""
    parent, most_bytes, *arguments = given
    if not end_with_parent(int(parent)):
        return
    lower(int(most_bytes))
    os.execv(sys.executable, (sys.executable, "-P", "-m", "pumpwatch", *arguments))
