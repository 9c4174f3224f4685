"""Poll a sink between writes: whether its acknowledged trades become visible, and how it keeps them."""

from __future__ import annotations

import logging
from collections.abc import Callable

import gevent

from pumpwatch.errors import PumpWatchError
from pumpwatch.hookspecs import Keeping, Sink
from pumpwatch.sink_abilities import KeepingSink
from pumpwatch.supervisor import guarded

log = logging.getLogger(__name__)


class SinkWatch:
    """Polls one sink in a greenlet. trouble: the sink's own report in one line, empty if all is well or unknown.

    is_open(): returns whether the sink is open. While it is, `kept` gets the sink's answers about how it keeps its trades.
    """

    def __init__(self, name: str, sink: Sink, every_s: float, is_open: Callable[[], bool],
                 kept: Callable[[Keeping], None]) -> None:
        self._name, self._sink, self._every_s = name, sink, every_s
        self._is_open, self._kept = is_open, kept
        self._odd = ""  # the last error that no sink should raise
        self.trouble = ""

    def run(self) -> None:
        """Poll until killed."""
        while True:
            gevent.sleep(self._every_s)
            if not guarded(self._poll, self.failed):
                self.trouble = ""  # unknown now

    def _poll(self) -> None:
        try:
            self.trouble = self._sink.trouble()
            if self._is_open():
                self._kept(self.keeping())
        except PumpWatchError:
            self.trouble = ""  # unknown now; the next write shows the problem

    def keeping(self) -> Keeping:
        """Return how the sink keeps its trades. Raises ServiceUnavailable or ConfigError."""
        return self._sink.keeping() if isinstance(self._sink, KeepingSink) else Keeping()

    def failed(self, error: Exception) -> None:
        """Log an error that no sink should raise, once, and go on polling."""
        odd = f"{type(error).__name__}: {error}"
        if odd != self._odd:
            log.error("sink check failed, it will be repeated sink=%s reason=%r", self._name, odd)
        self._odd = odd
