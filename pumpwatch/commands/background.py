"""Run this command again in the background, and return once it is ready: `collect --replace --background`.

The child gets the writing end of a pipe. It writes a byte when it is ready; if it ends before that, the pipe ends with it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress

from pumpwatch.descriptors import close_now

OPTION = "--background"
VARIABLE = "_PUMPWATCH_READY"  # the descriptor of the pipe's writing end


def in_background() -> int:
    """Start this command without `--background`; return 0 once it is ready, or its exit code if it ends before."""
    reading, writing = os.pipe()
    command = [sys.executable, *(word for word in sys.orig_argv[1:] if word != OPTION)]
    with os.fdopen(reading, "rb") as ready:
        # as a file: gevent's os.close closes a pipe only when its hub runs next, so the read below would never end
        with os.fdopen(writing, "wb", buffering=0):
            child = subprocess.Popen(command, start_new_session=True, pass_fds=(writing,), stdin=subprocess.DEVNULL,
                                     env=os.environ | {VARIABLE: str(writing)})
        if ready.read(1):
            child.returncode = 0  # it outlives this process: Popen has nothing to wait for
            return 0
    return child.wait()


def announce_ready() -> None:
    """Report to the parent process, if it waits in `in_background`, that this process is ready."""
    number = os.environ.pop(VARIABLE, "")
    if number.isdecimal():
        with suppress(OSError):
            os.write(int(number), b"1")
            close_now(int(number))
