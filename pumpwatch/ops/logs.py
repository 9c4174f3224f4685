"""Logging of the long-running commands: one line for each change of state, on stderr, times in UTC.

Lines are text or JSON, and go to a file as well if the config names a folder (`ops.log_file`).

Repeated lines are limited for each venue separately; the number of suppressed lines is logged within about a minute. Text of
venues and boards cannot forge a line or control a terminal: a message is one printable line, and a traceback is indented.
"""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any

from pumpwatch.printable import printable

if TYPE_CHECKING:
    from pumpwatch.config_log import LogConfig

Kind = tuple[str, int, str, str]  # logger, level, words, first value
PACKAGES = ("pumpwatch", "pumpwatch_plugins")  # a part of a log is a package or module below one of them
LONGEST = 4000  # characters of a line; a health summary of many exchanges takes a thousand


class RepeatLimit(logging.Filter):
    """Pass each kind of line (logger, level, template, first value) `burst` times a period.

    The first value is usually the venue, sink or source. The number of suppressed lines is logged before the first line of any
    kind after the period.
    """

    def __init__(self, burst: int = 10, period_s: float = 60.0, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._burst, self._period_s, self._now = burst, period_s, now
        self._seen: dict[Kind, list[float]] = {}  # start of the period, passed, held back

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno >= logging.CRITICAL:
            record.passed = True
            return True
        now = self._now()
        self._log_held_back(now)
        first = str(record.args[0]) if isinstance(record.args, tuple) and record.args else ""
        state = self._seen.setdefault((record.name, record.levelno, str(record.msg), first), [now, 0, 0])
        if state[1] >= self._burst:
            state[2] += 1
            return False
        state[1] += 1
        record.passed = True
        return True

    @staticmethod
    def passed(record: logging.LogRecord) -> bool:
        """Return whether the limit of another handler has passed a line."""
        return getattr(record, "passed", False)

    def _log_held_back(self, now: float) -> None:
        """Forget the kinds whose period is over, and log how many lines of each were suppressed."""
        over = {kind: state for kind, state in self._seen.items() if now - state[0] >= self._period_s}
        for kind in over:
            del self._seen[kind]
        for (name, level, words, first), (_, _, held_back) in over.items():
            if held_back:
                logging.getLogger(name).log(level, "%d more lines were held back like: %s",
                                            int(held_back), words.replace("%s", first or "%s", 1))


class PrintableFormatter(logging.Formatter):
    """Format a message as one printable line, and indent tracebacks, so that their lines do not look like log lines."""

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


class JsonFormatter(logging.Formatter):
    """Format a line as one JSON object: time, level, part, message, fields, and traceback, if any.

    Only `key=%s` in the log template becomes a field; text from venues and servers does not.
    """

    def format(self, record: logging.LogRecord) -> str:
        message, fields = fields_of(record)
        line: dict[str, Any] = {
            "time": f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03}Z",
            "level": record.levelname, "part": part_of(record.name), "message": message[:LONGEST], "fields": fields}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        import msgspec

        return msgspec.json.encode(line, enc_hook=str).decode("utf-8", "replace")


FIELD = re.compile(r"(?:^|(?<=\s))(\w+)=")
CONVERSION = re.compile(r"%[-#0 +]*\d*(?:\.\d+)?([sdifegxr%])")


def part_of(name: str) -> str:
    """Return the part of the program that a logger belongs to: `feeds.feed`, or `sinks.questdb.sink` of a plugin."""
    return name.removeprefix("pumpwatch.").removeprefix("pumpwatch_plugins.")


def fields_of(record: logging.LogRecord) -> tuple[str, dict[str, Any]]:
    """Return the message of a record and its fields, numbers as numbers."""
    if not record.args or not isinstance(record.args, tuple):  # the template has no fields
        return record.getMessage(), {}
    words, *pairs = FIELD.split(str(record.msg))
    arguments = list(record.args)
    fields: dict[str, Any] = {}
    try:
        message = _filled(words, arguments)
        for key, template in zip(pairs[::2], pairs[1::2], strict=True):
            conversion = CONVERSION.match(template)
            if conversion is None or conversion[1] == "%":
                fields[key] = _filled(template, arguments).strip().strip("'")
                continue
            value = arguments.pop(0)
            fields[key] = _typed(conversion[0] % value, conversion[1])
            rest = _filled(template[conversion.end():], arguments).strip()
            message = f"{message.rstrip()}{'' if rest[:1] in ':,;' else ' '}{rest}"
    except (IndexError, TypeError, ValueError):  # template and values do not match
        return f"{record.msg} {record.args}", {}
    return " ".join(message.split()), fields


def _filled(template: str, arguments: list[Any]) -> str:
    count = sum(conversion[1] != "%" for conversion in CONVERSION.finditer(template))
    taken = tuple(arguments[:count])
    del arguments[:count]
    return template % taken if taken or "%" in template else template


def _typed(text: str, kind: str) -> float | str:
    """Return the text of a number as a number."""
    return int(text) if kind in "di" else float(text) if kind in "feg" else text[:LONGEST]


class Lines(logging.StreamHandler[IO[str]]):
    """The handler of stderr."""


def set_up(config: LogConfig, stream: IO[str] | None = None) -> None:
    """Send the log to stderr (or `stream`), and to a file if the config names a folder.

    A second call replaces the set-up of the first. Raises StorageError if the folder cannot be used.
    """
    from pumpwatch.ops.log_file import LogFile

    root = logging.getLogger()
    handlers: list[logging.Handler] = [Lines(stream or sys.stderr)]
    kept = next((handler for handler in root.handlers if isinstance(handler, LogFile) and handler.is_of(config)), None)
    if config.folder:
        handlers.append(kept or LogFile(config))
    for handler in handlers:
        handler.setFormatter(JsonFormatter() if config.format == "json" else LineFormatter())
        handler.filters[:] = []
    limit = RepeatLimit()
    handlers[0].addFilter(limit)
    for handler in handlers[1:]:
        handler.addFilter(limit.passed)
    for handler in root.handlers:
        if isinstance(handler, LogFile) and handler is not kept:
            handler.end()
    root.handlers[:] = [*handlers, *(handler for handler in root.handlers if not isinstance(handler, (Lines, LogFile)))]
    set_levels(config)


def set_levels(config: LogConfig) -> None:
    """Set the general level, and the level of each part that the config names; may be called at any time."""
    root = logging.getLogger()
    root.setLevel(config.level.upper())
    wanted = {f"{package}.{part}": level.upper() for part, level in config.levels.items() for package in PACKAGES}
    for name in [name for name in list(root.manager.loggerDict) if name.startswith(PACKAGES) and name not in wanted]:
        logging.getLogger(name).setLevel(logging.NOTSET)
    for name, level in wanted.items():
        logging.getLogger(name).setLevel(level)
    logging.getLogger("apscheduler").setLevel(logging.ERROR)  # it logs each poll, and each job that is late
    logging.getLogger("urllib3").setLevel(logging.INFO)
