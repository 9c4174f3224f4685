"""Logging of the long-running commands: one line for each change of state, on stderr, times in UTC.

Repeated lines are limited for each venue separately; the number held back is logged within about a minute. The words of
venues and boards cannot forge a line or control a terminal: a message is one printable line, and a traceback is indented.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from typing import IO, Any

from pumpwatch.printable import printable

Kind = tuple[str, int, str, str]  # logger, level, words, first value
LEVELS = ("debug", "info", "warning", "error")
LONGEST = 4000  # characters of a line; a health summary of many exchanges takes a thousand


class RepeatLimit(logging.Filter):
    """Let each kind of line (logger, level, words, first value) through `burst` times a period.

    The first value is usually the venue, sink or source. The number of lines held back is logged before the first line, of
    any kind, after the period.
    """

    def __init__(self, burst: int = 10, period_s: float = 60.0, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._burst, self._period_s, self._now = burst, period_s, now
        self._seen: dict[Kind, list[float]] = {}  # start of the period, passed, held back

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno >= logging.CRITICAL:
            return True
        now = self._now()
        self._log_held_back(now)
        first = str(record.args[0]) if isinstance(record.args, tuple) and record.args else ""
        state = self._seen.setdefault((record.name, record.levelno, str(record.msg), first), [now, 0, 0])
        if state[1] >= self._burst:
            state[2] += 1
            return False
        state[1] += 1
        return True

    def _log_held_back(self, now: float) -> None:
        """Forget the kinds whose period is over, and log how many lines of each were held back."""
        over = {kind: state for kind, state in self._seen.items() if now - state[0] >= self._period_s}
        for kind in over:
            del self._seen[kind]
        for (name, level, words, first), (_, _, held_back) in over.items():
            if held_back:
                logging.getLogger(name).log(level, "%d more lines were held back like: %s",
                                            int(held_back), words.replace("%s", first or "%s", 1))


class PrintableFormatter(logging.Formatter):
    """Format a message as one printable line, and indent a traceback, so that none of its lines looks like a log line."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = printable(record.message, LONGEST)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:
        return "\n".join(f"  {printable(line, LONGEST)}" for line in super().formatException(ei).splitlines())


class LineFormatter(PrintableFormatter):
    """Format a line as `2026-11-21T10:20:33.123Z INFO feeds.feed connection up venue=...`."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s.%(msecs)03dZ %(levelname)s %(short)s %(message)s", "%Y-%m-%dT%H:%M:%S")
        self.converter = time.gmtime

    def format(self, record: logging.LogRecord) -> str:
        record.short = record.name.removeprefix("pumpwatch.")
        return super().format(record)


def set_up(level: str, stream: IO[str] | None = None) -> None:
    """Send the log to stderr (or `stream`) from this level on. A second call replaces the first one's set-up."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(LineFormatter())
    handler.addFilter(RepeatLimit())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.getLevelName(level.upper()) if level.lower() in LEVELS else logging.INFO)
    logging.getLogger("apscheduler").setLevel(logging.ERROR)  # it logs each poll, and each job that is late
    logging.getLogger("urllib3").setLevel(logging.INFO)
