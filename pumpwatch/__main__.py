"""`python -m pumpwatch`, the `pumpwatch` script and the zipapp all come in here.

gevent must patch the standard library before anything else is imported, and nowhere but here: a program that
imports pumpwatch keeps its own threads.
"""

# ruff: noqa: E402
from gevent import monkey

monkey.patch_all()

import sys

from gevent.hub import Hub


def main() -> None:
    """Run the command line and leave with its exit code."""
    from pumpwatch.cli import run
    from pumpwatch.errors import PumpWatchError

    # A thread hands its error to the greenlet that waits for it; the hub would print it with a traceback as well.
    Hub.NOT_ERROR = (*Hub.NOT_ERROR, PumpWatchError)
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
