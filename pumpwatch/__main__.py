"""The entry of `python -m pumpwatch`, of the `pumpwatch` script and of the zipapp.

gevent patches the standard library here, before anything else is imported, and nowhere else: a program that imports
pumpwatch keeps its own threads.
"""

# ruff: noqa: E402
from gevent import monkey

monkey.patch_all()

import os
import sys

from gevent.hub import Hub

# numpy's OpenBLAS would start a thread for each core, with memory of its own. Nothing here multiplies matrices.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def main() -> None:
    """Run the command line and leave with its exit code."""
    from pumpwatch.cli import run
    from pumpwatch.errors import PumpWatchError

    # The greenlet that waits gets the error of a thread, and Ctrl-C; the hub would print them with a traceback as well.
    Hub.NOT_ERROR = (*Hub.NOT_ERROR, PumpWatchError, KeyboardInterrupt)
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
