"""`python -m pumpwatch`, the `pumpwatch` script and the zipapp all come in here.

gevent must patch the standard library before anything else is imported, and nowhere but here: a program that
imports pumpwatch keeps its own threads.
"""

# ruff: noqa: E402
from gevent import monkey

monkey.patch_all()

import sys


def main() -> None:
    """Run the command line and leave with its exit code."""
    from pumpwatch.cli import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
