"""The source of stored trades for the market data: instruments by coin, trades by time."""

from __future__ import annotations

import difflib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_S
from pumpwatch.errors import UsageError
from pumpwatch.market.intervals import MINUTE_NS
from pumpwatch.model import TradeBatch
from pumpwatch.store.manifest import FILE as MANIFEST
from pumpwatch.store.reader import FOLDER, SUFFIX, JournalReader, stamp_of
from pumpwatch.store.segment import Segment

MOST_PROBLEMS = 1000  # lines that are kept
TICK_NS = 20_000_000  # two changes of a file within this time may bear the same time


class TradeSource(Protocol):
    """A source of stored trades."""

    catalogue: Catalogue

    def between(self, ids: Sequence[int], from_ns: int, to_ns: int) -> TradeBatch:
        """Return the trades of these instruments in [from_ns, to_ns), by time."""

    def begins_ns(self) -> int:
        """Return a time before which it has no trade."""

    def whole_from_ns(self) -> int:
        """Return the time since which it has every trade that was recorded; of an earlier time it may have some."""

    def look_again(self) -> None:
        """Add instruments to the catalogue that have come since it was made."""

    def state(self) -> object:
        """Return a value that changes when newer trades come."""

    def problems(self) -> list[str]:
        """Return what could not be read since the last call, a line each."""


class JournalTrades:
    """The trades of a data folder's journal, read beside the collector or without one. Takes no lock, writes nothing."""

    def __init__(self, folder: Path, catalogue: Catalogue | None = None) -> None:
        self.catalogue = Catalogue() if catalogue is None else catalogue
        self._folder = folder
        self._journal = JournalReader(folder, self.catalogue)
        self._journal.load_instruments()
        self._written: list[Path] = []  # the files that the collector writes to,
        self._looked_ns = -1  # as of this change of their folder
        self._problems: dict[str, None] = {}
        self._kept: tuple[object, list[Segment]] | None = None  # the segments, and the state in which they were read

    def between(self, ids: Sequence[int], from_ns: int, to_ns: int) -> TradeBatch:
        """Return the trades of these instruments in [from_ns, to_ns), by time."""
        found = self._journal.query(self.catalogue.names(ids), from_ns, to_ns, self._segments())
        self._note_problems()
        return found

    def begins_ns(self) -> int:
        """Return a time before which it has no trade; 2**62 where it has none at all."""
        return min((segment.first_timestamp for segment in self._segments()), default=2**62)

    def whole_from_ns(self) -> int:
        """Return the time since which no file has expired; 2**62 without a file.

        Late and backfilled trades of an earlier time may be in the files that are left.
        """
        segments = self._segments()
        if not segments or segments[0].first_id <= 1:
            return self.begins_ns()
        return (segments[0].created_ns // MINUTE_NS + 1) * MINUTE_NS

    def look_again(self) -> None:
        """Add the instruments that files name which were written since."""
        self._journal.load_instruments()

    def state(self) -> object:
        """Return the times and sizes of the files that the collector writes to."""
        folder = self._folder / FOLDER
        try:
            changed_ns = folder.stat().st_mtime_ns
            if changed_ns != self._looked_ns:
                names = sorted(path.name for path in folder.iterdir())
                logs = [name for name in names if name.endswith(f"{SUFFIX}-wal")]
                newest = [name for name in names if name.endswith(SUFFIX)][-1:]
                self._written = [folder / name for name in (*logs, *newest)]
                settled = abs(time.time_ns() - changed_ns) > NS_PER_S  # it may change again within the same tick of the clock
                self._looked_ns = changed_ns if settled else -1
            states = [path.stat() for path in self._written]
        except OSError:
            self._looked_ns = -1
            return 0
        return changed_ns, *((state.st_mtime_ns, state.st_size) for state in states)

    def _segments(self) -> list[Segment]:
        """Return the segments; they are read again once a file has changed, and each time while one cannot be read."""
        state = self.state()
        key = state, stamp_of(self._folder / MANIFEST)
        if self._kept is not None and self._kept[0] == key:
            return self._kept[1]
        before = len(self._journal.unreadable)
        found = self._journal.segments()
        latest_ns = max((part[0] for part in state[1:]), default=0) if isinstance(state, tuple) else 0
        settled = time.time_ns() - latest_ns > TICK_NS and latest_ns  # it may change again within the same tick of the clock
        self._kept = (key, found) if settled and len(self._journal.unreadable) == before else None
        return found

    def problems(self) -> list[str]:
        """Return the files that could not be read since the last call, a line each."""
        self._note_problems()
        found, self._problems = list(self._problems), {}
        return found

    def _note_problems(self) -> None:
        """Keep each line once, even if a file is read several times before `problems` is called."""
        self._problems |= dict.fromkeys(self._journal.unreadable[:MOST_PROBLEMS - len(self._problems)])
        self._journal.unreadable.clear()


def ids_of(catalogue: Catalogue, coins: str | Sequence[str], exchange: str | None, market: str | None) -> list[int]:
    """Return the ids of these coins' instruments, by coin and venue, spot first.

    Raises UsageError for an unknown coin, which names similar ones.
    """
    found: list[int] = []
    for coin in [coins] if isinstance(coins, str) else coins:
        matching = catalogue.matching(coin)
        if not matching:
            nearest = difflib.get_close_matches(coin.upper(), catalogue.coins(), 3, 0.5)
            raise UsageError(f"no coin {coin!r:.40} is known",
                             f"nearest: {', '.join(nearest)}" if nearest else "nothing of this name is recorded or listed")
        chosen = [number for number in matching if exchange in (None, catalogue.venues[number][0])
                  and market in (None, catalogue.venues[number][1])]
        found += sorted(chosen, key=lambda number: (catalogue.venues[number][0], catalogue.venues[number][1] != "spot"))
    return list(dict.fromkeys(found))
