"""Keep a store's one-minute candles equal to the journal, pass by pass.

The position in the journal is a mark of the store, and moves in the same transaction as the candles. A pass first makes again
each candle that a late or backfilled trade has touched since then, wholly and from the journal, then the minutes that are over,
in one transaction. So a pass that is cut off is simply done again, with the same result.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.market.candle_builder import MINUTE_BITS
from pumpwatch.market.candle_columns import CandleColumns, CandleOrigin, Series
from pumpwatch.market.interfaces import CandleStore
from pumpwatch.market.intervals import MINUTE, MINUTE_NS
from pumpwatch.market.journal_candles import JournalCandles, JournalPosition
from pumpwatch.model import Instrument, Int64
from pumpwatch.store.reader import JournalReader

log = logging.getLogger(__name__)

SETTLE_S = 2.0  # a minute is summed so long after its end
MOST_MINUTES = 60  # that a pass sums: the rest of a long journal waits for the next ones
MARK = "journal"
BEGINS = "begins"  # the mark of the minute since which trades are made candles; 0: all that were ever recorded
MOST_ROWS = 50_000  # candles of a transaction
Write = Callable[[Sequence[Series], CandleColumns, dict[str, str] | None], None]  # with marks; or StorageError


class FollowerPass(NamedTuple):
    """The work of a pass: minutes summed, candles written, and how many of these were recomputed."""

    minutes: int
    candles: int
    again: int


class JournalFollower:
    """Follows the journal of a data folder. Its methods block and belong to one thread."""

    def __init__(self, folder: Path, store: CandleStore, clock: Clock, write: Write | None = None) -> None:
        self._folder, self._store, self._clock = folder, store, clock
        self._write_minutes = write or (lambda series, rows, marks: store.write(MINUTE, series, rows, marks))
        self._catalogue = Catalogue()  # of its own: a number means one instrument in every file
        self._too_old = 0
        self.behind = False  # the last pass has left minutes for the next ones

    def run(self) -> FollowerPass:
        """Process the trades stored since the last pass. Raises StorageError; then the next pass does the rest."""
        journal = JournalCandles(self._folder, self._catalogue)
        try:
            return self._run(journal)
        finally:
            journal.close()

    def _run(self, journal: JournalCandles) -> FollowerPass:
        self.behind = False
        if not journal.segments:
            return FollowerPass(0, 0, 0)
        at = JournalPosition.of(self._store.mark(MARK)) or JournalPosition(0, journal.first_minute)
        if journal.last_id < at.batch:  # another journal is in this folder
            at = JournalPosition(0, at.minute)
        again = self._make_again(journal, journal.touched(at.batch, at.minute))
        at = JournalPosition(journal.last_id, at.minute)
        begins = {} if self._store.mark(BEGINS) else {BEGINS: str(journal.whole_from)}
        self._store.write(MINUTE, (), CandleColumns.empty(), {MARK: at.text(), **begins})
        end, parts, candles = (self._clock.now_ns() - int(SETTLE_S * NS_PER_S)) // MINUTE_NS, list[CandleColumns](), 0
        began = at.minute
        while at.minute < end and len(parts) < MOST_MINUTES and candles < MOST_ROWS:  # nothing where the clock was set back
            following = journal.next_minute(at.minute)
            minute = end if following is None else min(following, end)
            rows = journal.minute(minute) if minute < end else CandleColumns.empty()
            at = JournalPosition(at.batch, min(minute + 1, end))
            if len(rows):
                parts.append(rows)
                candles += len(rows)
        if at.minute > began:
            self._write(CandleColumns.concat(parts), {MARK: at.text()})
        self.behind = at.minute < end
        return FollowerPass(len(parts), candles + again, again)

    def make_again(self, pairs: Sequence[tuple[Series, int]]) -> int:
        """Make candles of these series and minutes (since 1970) again, in place of a venue's; return how many."""
        journal = JournalCandles(self._folder, self._catalogue)
        try:
            ids = {name: number for number, name in enumerate(self._catalogue.names(range(len(self._catalogue))))}
            keys = [ids[series] << MINUTE_BITS | minute for series, minute in pairs if series in ids]
            return self._make_again(journal, np.unique(np.array(keys, np.int64)), over_venue=True)
        finally:
            journal.close()

    def _make_again(self, journal: JournalCandles, keys: Int64, *, over_venue: bool = False) -> int:
        """Make the candles of these keys again; a venue's candle stays unless told otherwise."""
        minutes, instruments, written = keys & (1 << MINUTE_BITS) - 1, keys >> MINUTE_BITS, 0
        for minute in np.unique(minutes).tolist():
            wanted = instruments[minutes == minute]
            held = self._held(wanted, minute)
            kept = held.series[(held.origin == CandleOrigin.VENUE) if not over_venue else np.zeros(len(held), np.bool_)]
            if minute < journal.whole_from:  # other trades of it may have expired
                kept = held.series
                self._too_old += len(kept)
                if len(kept):
                    log.info("late trades left out of candles candles=%d reason=their other trades have expired", len(kept))
            rows = journal.some(wanted[~np.isin(wanted, kept)].tolist(), minute)
            self._write(rows)
            written += len(rows)
        return written

    def _held(self, instruments: Int64, minute: int) -> CandleColumns:
        """Return the stored candles of a minute; `series` are instruments."""
        names = self._catalogue.names(instruments.tolist())
        rows = self._store.read_many(names, MINUTE, minute * MINUTE_NS, (minute + 1) * MINUTE_NS)
        return replace(rows, series=instruments[rows.series].astype(np.int32))

    def _write(self, rows: CandleColumns, marks: dict[str, str] | None = None) -> None:
        """Store candles whose series are instruments."""
        numbers, places = np.unique(rows.series, return_inverse=True)
        series = self._catalogue.names(numbers.tolist())
        rows = replace(rows, series=places.astype(np.int32))
        if len(rows) or marks:
            self._write_minutes(series, rows, marks)

    def instruments(self) -> dict[Series, Instrument]:
        """Return every instrument that the journal names. Reads its files where no pass has done so yet."""
        if not len(self._catalogue):
            JournalReader(self._folder, self._catalogue).load_instruments()
        return dict(zip(self._catalogue.names(range(len(self._catalogue))), self._catalogue.instruments, strict=False))

    def figures(self) -> dict[str, int]:
        """Return how many candles could not be made again."""
        return {"too_late": self._too_old}
