"""Start a strategy's process, send it a job, and turn its answer into replays or into one clear error."""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
import tempfile
from typing import IO

import msgspec

from pumpwatch.errors import PumpWatchError
from pumpwatch.paper.job import Failure, Job, PlayedRow, Source, StrategyAnswer

PROGRAM = "import sys; from pumpwatch.paper.child import serve; serve(int(sys.argv[1]))"
GRACE_S = 20.0  # added to the limits, for starting and for reading the tape
_FRAME = re.compile(r'^  File "(.*)", line (\d+) in (.+)$', re.MULTILINE)


class StrategyError(PumpWatchError):
    """Stop the run: the strategy failed. The message names its file and line."""


def play_in_process(job: Job) -> tuple[PlayedRow, ...]:
    """Play a job in a separate process, and return a replay for each delay. Raises StrategyError."""
    environ = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONHASHSEED": "0"}
    with tempfile.TemporaryFile() as traces, subprocess.Popen(
            (sys.executable, "-P", "-c", PROGRAM, str(traces.fileno())), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            pass_fds=(traces.fileno(),), env=environ) as process:
        try:
            output, _ = process.communicate(pickle.dumps(job, protocol=5), GRACE_S + job.limit_s * len(job.delays_ms))
        except subprocess.TimeoutExpired:
            raise StrategyError(f"{job.source.file}: its process did not end in time, so it was killed") from None
        finally:
            if process.poll() is None:
                process.kill()
        try:
            answer = msgspec.json.decode(output, type=StrategyAnswer)
        except msgspec.DecodeError:
            raise _ended(process.returncode, traces, job) from None
    if answer.failure is not None:
        raise StrategyError(failure_message(answer.failure, job.source))
    return answer.played


def failure_message(failure: Failure, source: Source) -> str:
    """Return the message of a failure, such as `fade.py:12 (on_trade): ValueError: ...`."""
    where = f"{source.file}:{failure.line}" if failure.line else source.file
    inside = f" ({failure.function})" if failure.function not in ("", "<module>") else ""
    return f"{where}{inside}: {failure.problem}"


def _ended(code: int, traces: IO[bytes], job: Job) -> StrategyError:
    """Return the error of a process that ended without an answer."""
    traces.seek(0)
    text = traces.read(1_000_000).decode("utf-8", "backslashreplace")
    if not text:
        return StrategyError(f"{job.source.file}: its process ended without an answer (exit code {code})",
                             "it may have exited by itself, or the kernel may have killed it for using too much memory")
    own = [(line, function) for file, line, function in _FRAME.findall(text) if file == _as_traced(job.source.file)]
    line, function = own[0] if own else ("0", "")
    failure = Failure(f"it did not return within {job.limit_s:g} s, and was ended there", int(line), function)
    return StrategyError(failure_message(failure, job.source), "--limit-s gives it longer")


def _as_traced(file: str) -> str:
    """Return a file name as faulthandler writes it."""
    return "".join(char if 32 <= ord(char) < 127 else char.encode("ascii", "backslashreplace").decode() for char in file)
