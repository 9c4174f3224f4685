"""Query memory and journal for trades in a separate thread with its own open files, so that no commit waits."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import gevent
from gevent.threadpool import ThreadPool

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import Clock
from pumpwatch.errors import StorageError
from pumpwatch.model import TradeBatch
from pumpwatch.store.query import merged
from pumpwatch.store.recent import Held, Recent, extract
from pumpwatch.store.side_reader import SideReader

POLL_S = 0.1


class StoredHere:
    """The memory and the journal of one collector.

    last_id(): the last durable batch. cursor(): the last batch that the sink has. is_down(): whether the sink is down.
    """

    def __init__(self, recent: Recent, reader: Callable[[], SideReader], catalogue: Catalogue, clock: Clock,
                 last_id: Callable[[], int], cursor: Callable[[], int], is_down: Callable[[], bool]) -> None:
        self._recent, self._make_reader, self._catalogue, self._clock = recent, reader, catalogue, clock
        self._last_id, self._cursor, self._is_down = last_id, cursor, is_down
        self._reader: SideReader | None = None
        self._thread = ThreadPool(1)

    def query(self, ids: Sequence[int], start_ns: int, end_ns: int) -> TradeBatch:
        """Return the trades of these instruments in [start_ns, end_ns) by timestamp, each once; the journal fills in for memory.

        Raises StorageError if a part of the journal cannot be read now.
        """
        rest = self._recent.elsewhere(start_ns, end_ns)
        first_ns = max(start_ns, self._recent.covers_from_ns)
        held = self._recent.held(first_ns, end_ns) if first_ns < end_ns else []
        found: TradeBatch = self._thread.apply(self._read, (held, ids, first_ns, end_ns, rest))
        return found

    def _read(self, held: list[Held], ids: Sequence[int], first_ns: int, end_ns: int, rest: list[tuple[int, int]]) -> TradeBatch:
        parts = [extract(held, ids, first_ns, end_ns)] if held else []
        if self._reader is None:
            self._reader = self._make_reader()
        for name in self._catalogue.names(ids):
            for from_ns, to_ns in rest:
                part = self._reader.query(name, from_ns, to_ns)
                if part is None:
                    raise StorageError("a part of the journal cannot be read beside the collector now")
                parts.append(part)
        return merged(parts)

    def reached(self, within_s: float) -> bool:
        """Wait until the sink has acknowledged everything that is durable now; return False after `within_s`.

        Return False at once if the sink is down.
        """
        wanted, deadline = self._last_id(), self._clock.monotonic() + within_s
        while self._cursor() < wanted:
            if self._is_down() or self._clock.monotonic() >= deadline:
                return False
            gevent.sleep(POLL_S)
        return True
