"""Keep the last warnings and errors of the log in memory, for the page."""

from __future__ import annotations

import logging
from collections import OrderedDict
from typing import Any

from pumpwatch.printable import printable

KEPT = 50  # kinds of lines
LONGEST = 600  # characters of a line


class KeptWarnings(logging.Handler):
    """A handler of the root logger. Lines that differ only in their figures are one entry with a count.

    Lines are kept as they are logged; callers must have masked secrets.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._entries: OrderedDict[tuple[str, int, str, str], dict[str, Any]] = OrderedDict()
        self._number = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one line."""
        first = str(record.args[0]) if isinstance(record.args, tuple) and record.args else ""  # mostly a venue, sink or source
        kind = (record.name, record.levelno, str(record.msg), first)
        entry = self._entries.pop(kind, None)
        self._number += 1
        self._entries[kind] = {
            "number": entry["number"] if entry else self._number, "at_ms": int(record.created * 1000), "level": record.levelname,
            "part": record.name.removeprefix("pumpwatch."), "text": printable(record.getMessage(), LONGEST),
            "times": entry["times"] + 1 if entry else 1}
        while len(self._entries) > KEPT:
            self._entries.popitem(last=False)

    def rows(self) -> list[dict[str, Any]]:
        """Return the entries, the newest last: number, at_ms, level, part, text, times."""
        self.acquire()  # another thread may be logging
        try:
            return list(self._entries.values())
        finally:
            self.release()

    def start(self) -> None:
        """Begin to keep log lines."""
        logging.getLogger().addHandler(self)

    def stop(self) -> None:
        """Stop keeping log lines."""
        logging.getLogger().removeHandler(self)
