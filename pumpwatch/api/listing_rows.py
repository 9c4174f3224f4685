"""The listings as `replay.show` returns them, read at most once a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gevent.lock import Semaphore
from gevent.threadpool import ThreadPool

from pumpwatch.clock import Clock
from pumpwatch.config import Config
from pumpwatch.listing import replay

FRESH_S = 1.0


class ListingRows:
    """The rows of a config's listings. `all` and `matching` read in a thread; only the caller waits."""

    def __init__(self, config: Config, clock: Clock, threads: ThreadPool) -> None:
        self._config, self._clock, self._threads = config, clock, threads
        self._reading = Semaphore()
        self._rows: list[dict[str, Any]] = []
        self._read_at_s = float("-inf")

    def all(self) -> list[dict[str, Any]]:
        """Return all listings, the oldest first; the rows are shared, so never change them. Raises StorageError."""
        with self._reading:
            if self._clock.monotonic() - self._read_at_s > FRESH_S:
                self._rows = self._threads.apply(replay.show, (self._config,))
                self._read_at_s = self._clock.monotonic()
            return self._rows

    def matching(self, wanted: str) -> list[dict[str, Any]]:
        """Return the listings with this id, notice id, coin or archive name. Raises StorageError."""

        return [row for row in self.all() if wanted in (row["id"], row["notice_id"], row["coin"], Path(row["archive"]).name)]
