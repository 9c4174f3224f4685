"""Make a backup in a separate process that does not disturb a collector: low priority, a bounded rate, no shared lock.

The process reads the plan, including keys, from its standard input and prints one line of JSON.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress

import msgspec

from pumpwatch.backup.make import Made, make
from pumpwatch.backup.plan import BackupPlan
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
NICE = 10  # the kernel also derives the priority of reads and writes from it
LONGEST_S = 6 * 3600.0
SHOWN, LINES = 300, 5  # characters of a problem, and problems, in the answer
CLASSES: dict[int, type[PumpWatchError]] = {
    EXIT_USAGE: UsageError, EXIT_UNAVAILABLE: ServiceUnavailable, EXIT_DISK: StorageError, EXIT_CONFIG: ConfigError}


class Failed(msgspec.Struct):
    """An error, as it crosses the pipe."""

    message: str
    hint: str
    exit_code: int


class BackupAnswer(msgspec.Struct):
    """The result of the process: the backup, or the error."""

    made: Made | None = None
    failed: Failed | None = None


def backup_in_child(plan: BackupPlan, within_s: float = LONGEST_S) -> Made:
    """Make a backup in a child process and wait for it. Blocks the native thread.

    Raises as `make`, and StorageError if the process ended without an answer or took too long. A killed one leaves no backup.
    """
    words = (sys.executable, "-P", "-c", PROGRAM)
    environ = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        ended = run_child(words, msgspec.json.encode(plan), within_s, environ)
    except OSError as error:
        raise StorageError(f"the process that makes the backup cannot be started: {error.strerror}") from error
    except BaseException:
        end_children(signal.SIGTERM)  # Ctrl-C: the child releases its locks and checkpoints
        raise
    if ended.code is None:
        raise StorageError(f"the backup took more than {within_s:,.0f} s and was ended",
                           "raise backup.mb_per_s, or look at the disk")
    lines = ended.output.decode("utf-8", "replace").strip().splitlines()
    try:
        answer = msgspec.json.decode(lines[-1] if lines else "", type=BackupAnswer)
    except ValueError:
        answer = BackupAnswer()
    if answer.made is not None:
        return answer.made
    if answer.failed is not None:
        raise CLASSES.get(answer.failed.exit_code, StorageError)(answer.failed.message, answer.failed.hint)
    said = lines[-1][:SHOWN] if lines else "it printed nothing"
    raise StorageError(f"the process that makes the backup ended with {ended.code}: {said}",
                       "check with `dmesg` whether the kernel killed it because memory was short")


def _end(number: int, frame: object) -> None:
    """End by an exception, so that locks and checkpoints are released."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # do not interrupt the release
    raise SystemExit(128 + number)


def serve() -> None:
    """Make the backup of the plan on standard input. This is the body of the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent process ends it
    signal.signal(signal.SIGTERM, _end)
    with suppress(OSError):
        os.nice(NICE)
    plan = msgspec.json.decode(sys.stdin.buffer.read(), type=BackupPlan)
    try:
        made = make(plan)
    except PumpWatchError as error:
        answer = BackupAnswer(failed=Failed(error.message[:SHOWN * 2], error.hint[:SHOWN], error.exit_code))
    else:
        more = len(made.problems) - LINES
        made.problems = [line[:SHOWN] for line in made.problems[:LINES]] + ([f"and {more} more"] if more > 0 else [])
        made.removed = made.removed[:LINES]
        answer = BackupAnswer(made=made)
    sys.stdout.write("\n" + msgspec.json.encode(answer).decode() + "\n")
    sys.stdout.flush()
