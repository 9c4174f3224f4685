"""The body of a strategy's process: load the strategy, play the tape once for each delay, answer, and exit.

The strategy is third-party code, so every exception is caught and becomes an answer with its line. If it does not return in
time, `faulthandler` ends the process and writes the traceback.
"""

from __future__ import annotations

import contextlib
import decimal
import faulthandler
import os
import pickle
import random
import resource
import signal
import sys
from types import ModuleType, TracebackType

import msgspec
import numpy as np

from pumpwatch.paper import guard
from pumpwatch.paper.engine import play
from pumpwatch.paper.job import Failure, Job, PlayedRow, Source, StrategyAnswer
from pumpwatch.strategy import Strategy

MOST_BYTES = 4 << 30  # of memory
MODULE = "paper_strategy"


def serve(traces: int) -> None:
    """Answer the job on standard input. traces: the descriptor for the traceback of a strategy that does not return."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the command, which ends this process
    answers = os.dup(1)
    os.dup2(2, 1)  # the output of a strategy must not mix with the answer
    job: Job = pickle.load(sys.stdin.buffer)
    _bound_memory()
    guard.install()
    send(answers, msgspec.json.encode(_answer(job, traces)))


def send(answers: int, content: bytes) -> None:
    """Write the answer to a descriptor. Do nothing if the command was killed."""
    left = memoryview(content)
    with contextlib.suppress(BrokenPipeError):
        while left:
            left = left[os.write(answers, left):]


def _bound_memory() -> None:
    with contextlib.suppress(OSError, ValueError):  # a lower limit is set already
        resource.setrlimit(resource.RLIMIT_DATA, (MOST_BYTES, MOST_BYTES))


def _answer(job: Job, traces: int) -> StrategyAnswer:
    rows = []
    for delay_ms in job.delays_ms:
        faulthandler.dump_traceback_later(job.limit_s, exit=True, file=traces)
        try:
            random.seed(job.settings.seed)
            decimal.setcontext(decimal.Context())
            np.random.seed(job.settings.seed % 2**32)
            played = play(job.tape, load(job.source)(), job.settings, delay_ms)
        except BaseException as error:  # third-party code may even raise SystemExit
            return StrategyAnswer(failure=failure_of(error, job.source.file))
        finally:
            faulthandler.cancel_dump_traceback_later()
        rows.append(PlayedRow(played.outcome, played.actions))
    return StrategyAnswer(tuple(rows))


def load(source: Source) -> type[Strategy]:
    """Run a strategy's code and return its class. Raises anything the code raises, and TypeError without exactly one class."""
    module = ModuleType(MODULE)
    module.__file__ = source.file
    sys.modules[MODULE] = module
    exec(compile(source.code, source.file, "exec"), module.__dict__)
    found = {name: value for name, value in vars(module).items()
             if isinstance(value, type) and issubclass(value, Strategy) and value.__module__ == MODULE}
    if source.class_name:
        found = {name: value for name, value in found.items() if name == source.class_name}
    if len(found) != 1:
        raise TypeError(f"it has {len(found)} classes that derive from pumpwatch.Strategy, but must have one"
                        + "".join(f": {', '.join(sorted(found))}" for _ in range(bool(found))))
    return next(iter(found.values()))


def failure_of(error: BaseException, file: str) -> Failure:
    """Return an error with the last line of the strategy's file in its traceback."""
    line, function = 0, ""
    trace: TracebackType | None = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == file:
            line, function = trace.tb_lineno, trace.tb_frame.f_code.co_name
        trace = trace.tb_next
    if isinstance(error, SyntaxError) and error.filename == file:
        line = error.lineno or 0
    text = " ".join(_text(error).split())[:500]
    return Failure(f"{type(error).__name__}: {text}" if text else type(error).__name__, line, function)


def _text(error: BaseException) -> str:
    try:
        return error.msg if isinstance(error, SyntaxError) else str(error)
    except Exception:  # third-party code: its __str__ may raise
        return ""
