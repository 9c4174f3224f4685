"""Start paper runs for the API, one at a time, in separate processes that do not disturb recording.

A process has the lowest priority, at most `api.reader_memory_bytes` of memory and LONGEST_S seconds. It ends with the
collector.
"""

from __future__ import annotations

import os
import re
import secrets
import sys
from collections.abc import Sequence
from typing import Literal

import msgspec
from gevent.threadpool import ThreadPool

from pumpwatch.config import Config
from pumpwatch.errors import EXIT_OK, UsageError
from pumpwatch.notify.child import run_child
from pumpwatch.paper.results import FOLDER
from pumpwatch.printable import printable

PROGRAM = "import sys; from pumpwatch.api.paper_child import main; main(sys.argv[1:])"
LONGEST_S = 900.0
REMEMBERED = 50  # starts; the oldest are forgotten
SHOWN = 300  # last characters of a failed run's output
_RUN = re.compile(rf"{FOLDER}/([0-9A-Za-z_-]+)/")  # in the path that the command prints


class PaperStart(msgspec.Struct):
    """A run that was started. run_id: null until it is done. problem: why it failed."""

    id: str
    state: Literal["running", "done", "failed"] = "running"
    run_id: str | None = None
    problem: str = ""


class PaperStarts:
    """The runs that one collector has started."""

    def __init__(self, config: Config, program: Sequence[str] = (sys.executable, "-P", "-c", PROGRAM),
                 within_s: float = LONGEST_S) -> None:
        self._config, self._program, self._within_s = config, tuple(program), within_s
        self._threads = ThreadPool(1)
        self._starts: dict[str, PaperStart] = {}

    def start(self, arguments: Sequence[str]) -> PaperStart:
        """Start `pumpwatch paper run ARGUMENTS`. Raises UsageError while another one runs."""
        if any(start.state == "running" for start in self._starts.values()):
            raise UsageError("another paper run is still running: wait for it to end")
        start = PaperStart(secrets.token_hex(8))
        self._starts[start.id] = start
        while len(self._starts) > REMEMBERED:
            del self._starts[next(iter(self._starts))]
        config = self._config
        source = ("-c", config.source.name) if config.source.is_file else ()
        self._threads.spawn(self._run, start, (*self._program, str(os.getpid()), str(config.api.reader_memory_bytes),
                                               "paper", "run", *arguments, *source))
        return start

    def start_of(self, start_id: str) -> PaperStart | None:
        """Return the current state of a start, None if it is unknown."""
        return self._starts.get(start_id)

    def _run(self, start: PaperStart, words: Sequence[str]) -> None:
        """Run the process and record its outcome, in a native thread."""
        environ = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        try:
            ended = run_child(words, b"", self._within_s, environ)
        except OSError as error:
            start.problem, start.state = f"the process cannot be started: {error.strerror or error}", "failed"
            return
        text = ended.output.decode("utf-8", "replace").strip()
        found = _RUN.findall(text)
        if ended.code == EXIT_OK and found:
            start.run_id, start.state = found[-1], "done"
            return
        reason = printable(" ".join(text.split())[-SHOWN:]) or f"it ended with exit code {ended.code}"
        start.problem = f"it took more than {self._within_s:,.0f} s and was killed" if ended.code is None else reason
        start.state = "failed"
