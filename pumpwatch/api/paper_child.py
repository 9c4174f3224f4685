"""Lower this process and bound its memory, then become `pumpwatch ARGUMENTS`: the body of the processes of `paper_starts`.

The kernel keeps priority, memory and the parent's death over the change of program; what it starts has the first two.
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
AUTOGROUP = Path("/proc/self/autogroup")  # a session of its own has a share of its own, which nice does not lower


def lower(most_bytes: int) -> None:
    """Let this process have a small share of the cores while others want them, and so many bytes of memory of its own."""
    with suppress(OSError):
        os.nice(NICE)
    if os.getsid(0) == os.getpid():  # else the share of whoever else is in the session would shrink with it
        with suppress(OSError):
            AUTOGROUP.write_text(str(NICE_SESSION))
    resource.setrlimit(resource.RLIMIT_DATA, (most_bytes, most_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main(given: Sequence[str]) -> None:
    """Become `pumpwatch` with the arguments after the first two: the parent's process id, and the most bytes of memory."""
    parent, most_bytes, *arguments = given
    if not end_with_parent(int(parent)):
        return
    lower(int(most_bytes))
    os.execv(sys.executable, (sys.executable, "-P", "-m", "pumpwatch", *arguments))
