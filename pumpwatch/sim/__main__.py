"""`python -m pumpwatch.sim '{"symbols": 20, "rate": 5000}'`: simulated venues as a child process.

The standard library is not patched here: the simulator uses gevent's own sockets and sleeps.
"""

from __future__ import annotations

import gc
import json
import sys

from pumpwatch.errors import EXIT_USAGE, PumpWatchError

FULL_COLLECTION_EACH = 1_000  # collections of the middle generation: a full one holds up all frames for tens of ms


def run(arguments: list[str]) -> int:
    """Run with options from one JSON argument, and with commands from stdin; the end of stdin ends the simulation."""
    from pumpwatch.sim.server import main

    try:
        options = json.loads(arguments[0]) if arguments else {}
        return main(stdin_commands=True, **options)
    except (ValueError, TypeError) as error:
        print(f"the argument must be one JSON object of options: {error}", file=sys.stderr)
        return EXIT_USAGE
    except PumpWatchError as error:
        print(error, file=sys.stderr)
        return error.exit_code


def main() -> None:
    """Run with the arguments of the command line, and end the process."""
    gc.set_threshold(10_000, 20, FULL_COLLECTION_EACH)
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
