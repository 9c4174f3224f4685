"""Make a backup in a process of its own, so that a collector never notices: low priority, a bounded rate, no shared lock.

The process reads the plan from its standard input, keys included, and prints one line of JSON.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress

import msgspec

from pumpwatch.backup.make import Made, make
from pumpwatch.backup.plan import Plan
from pumpwatch.errors import (
    EXIT_CONFIG,
    EXIT_DISK,
    EXIT_UNAVAILABLE,
    EXIT_USAGE,
    ConfigError,
    PumpWatchError,
    ServiceUnavailable,
    StorageError,
    UsageError,
)
from pumpwatch.notify.child import end_children, run_child

PROGRAM = "from pumpwatch.backup.child import serve; serve()"
NICE = 10  # the kernel takes the priority of its reads and writes from it as well
LONGEST_S = 6 * 3600.0
SHOWN, LINES = 300, 5  # of problems, in the answer
CLASSES: dict[int, type[PumpWatchError]] = {
    EXIT_USAGE: UsageError, EXIT_UNAVAILABLE: ServiceUnavailable, EXIT_DISK: StorageError, EXIT_CONFIG: ConfigError}


class Failed(msgspec.Struct):
    """An error, as it crosses the pipe."""

    message: str
    hint: str
    exit_code: int


class Answer(msgspec.Struct):
    """The result of the process: one of the two."""

    made: Made | None = None
    failed: Failed | None = None


def backup_in_child(plan: Plan, within_s: float = LONGEST_S) -> Made:
    """Make a backup in a child process and wait for it. Blocks the native thread.

    Raises as `make`, and StorageError where the process ended without an answer or took too long; a killed one leaves no backup.
    """
    words = (sys.executable, "-P", "-c", PROGRAM)
    environ = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        ended = run_child(words, msgspec.json.encode(plan), within_s, environ)
    except OSError as error:
        raise StorageError(f"the process that makes the backup cannot be started: {error.strerror}") from error
    except BaseException:
        end_children(signal.SIGTERM)  # Ctrl-C: it releases what it holds
        raise
    if ended.code is None:
        raise StorageError(f"the backup took more than {within_s:,.0f} s and was ended",
                           "raise backup.mb_per_s, or look at the disk")
    lines = ended.output.decode("utf-8", "replace").strip().splitlines()
    try:
        answer = msgspec.json.decode(lines[-1] if lines else "", type=Answer)
    except ValueError:
        answer = Answer()
    if answer.made is not None:
        return answer.made
    if answer.failed is not None:
        raise CLASSES.get(answer.failed.exit_code, StorageError)(answer.failed.message, answer.failed.hint)
    said = lines[-1][:SHOWN] if lines else "it printed nothing"
    raise StorageError(f"the process that makes the backup ended with {ended.code}: {said}",
                       "has the kernel ended it for want of memory?")


def _end(number: int, frame: object) -> None:
    """End by an exception, so that what is held is released, such as a checkpoint of QuestDB."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the release is not cut off
    raise SystemExit(128 + number)


def serve() -> None:
    """Make the backup that standard input asks for. This is the body of the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started it ends it
    signal.signal(signal.SIGTERM, _end)
    with suppress(OSError):
        os.nice(NICE)
    plan = msgspec.json.decode(sys.stdin.buffer.read(), type=Plan)
    try:
        made = make(plan)
    except PumpWatchError as error:
        answer = Answer(failed=Failed(error.message[:SHOWN * 2], error.hint[:SHOWN], error.exit_code))
    else:
        more = len(made.problems) - LINES
        made.problems = [line[:SHOWN] for line in made.problems[:LINES]] + ([f"and {more} more"] if more > 0 else [])
        made.removed = made.removed[:LINES]
        answer = Answer(made=made)
    sys.stdout.write("\n" + msgspec.json.encode(answer).decode() + "\n")
    sys.stdout.flush()
