"""The entry point of `python -m pumpwatch`, of the `pumpwatch` script and of the zipapp.

Only this module lets gevent patch the standard library, before anything else is imported: a program that imports pumpwatch
keeps its own threads.
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
    """Run the command line and exit with its exit code."""
    from pumpwatch.cli import run
    from pumpwatch.errors import PumpWatchError

    # The waiting greenlet gets a thread's error, and Ctrl-C; the hub would also print them with a traceback.
    Hub.NOT_ERROR = (*Hub.NOT_ERROR, PumpWatchError, KeyboardInterrupt)
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
