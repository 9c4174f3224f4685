"""Count the journal's trades into the ledger of minutes, each batch once, in storage order.

A running collector regularly calls `step`, in a thread, until it returns False. It opens its own connections and never blocks the
journal's thread. Unreadable batches are skipped; the journal itself records gaps for them.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import Clock
from pumpwatch.errors import StorageError
from pumpwatch.model import IdKind, Instrument, TradeBatch
from pumpwatch.store.coverage import FILE_NAME, CoverageFile, Venue, set_aside
from pumpwatch.store.id_runs import IdRuns, runs_of, union
from pumpwatch.store.minutes import Minutes, joined, minutes_of
from pumpwatch.store.reader import SegmentReader, ignore_damage
from pumpwatch.store.segment import Segment
from pumpwatch.store.sqlite import DAMAGED, DamagedError, connect, raise_if_temporary

log = logging.getLogger(__name__)

STEP_ROWS = 400_000  # counted in one transaction, which writes whole hours
AT_ONCE_ROWS = 20_000
JOIN_PARTS = 32
IdKindOf = Callable[[Venue], IdKind]


class Figures:
    """Collects the figures of batches, which may come in any order."""

    def __init__(self, catalogue: Catalogue, id_kind_of: IdKindOf) -> None:
        self._catalogue, self._id_kind_of = catalogue, id_kind_of
        self._counts: dict[Venue, bool] = {}  # whether the venue's ids count by one
        self._waiting: list[TradeBatch] = []
        self._waiting_rows = 0
        self._minutes: list[Minutes] = []
        self._runs: list[IdRuns] = []
        self.rows = 0

    def add(self, batch: TradeBatch) -> None:
        """Add a batch."""
        self._waiting.append(batch)
        self._waiting_rows += len(batch)
        self.rows += len(batch)
        if self._waiting_rows >= AT_ONCE_ROWS:
            self._take_waiting()

    def _take_waiting(self) -> None:
        batch = TradeBatch.concat(self._waiting)
        self._waiting, self._waiting_rows = [], 0
        if len(batch):
            self.add_figures(minutes_of(batch), self._runs_in(batch))

    def add_figures(self, minutes: Minutes, runs: IdRuns) -> None:
        """Add figures and used ids."""
        self._minutes.append(minutes)
        self._runs.append(runs)
        if len(self._minutes) >= JOIN_PARTS:
            self._join()

    def _join(self) -> None:
        self._minutes, self._runs = [joined(self._minutes)], [union(self._runs)]

    def total(self) -> tuple[Minutes, IdRuns]:
        """Return the figures of all batches so far."""
        self._take_waiting()
        self._join()
        return self._minutes[0], self._runs[0]

    def counts_by_one(self, venue: Venue) -> bool:
        """Return whether a venue's ids count by one."""
        if venue not in self._counts:
            self._counts[venue] = self._id_kind_of(venue) == IdKind.CONTIGUOUS
        return self._counts[venue]

    def _runs_in(self, batch: TradeBatch) -> IdRuns:
        numbers = np.unique(batch.instrument)
        proves = [number for number in numbers.tolist() if self.counts_by_one(self._catalogue.venues[number])]
        if not proves:
            return IdRuns.empty()
        rows = np.isin(batch.instrument, proves) & (batch.trade_id >= 0)
        if batch.text_id is not None:
            rows &= batch.text_id == b""
        return runs_of(batch.instrument[rows], batch.trade_id[rows], batch.timestamp[rows])


def void_runs(path: Path, after_id: int, upto_id: int, catalogue: Catalogue) -> IdRuns:
    """Return the ids that rows without a trade used up in the batches (after_id, upto_id] of a file.

    A file of an earlier version does not have them. Raises StorageError if the file is locked.
    """
    try:
        connection = connect(path, read_only=True)
        try:
            rows = connection.execute(
                "SELECT exchange, market_type, symbol, v.id, timestamp FROM void_ids v JOIN instruments i ON i.id = v.instrument"
                " WHERE batch_id > ? AND batch_id <= ?", (after_id, upto_id)).fetchall()
        finally:
            connection.close()
    except DAMAGED as error:
        raise_if_temporary(error, path)
        return IdRuns.empty()
    if not rows:
        return IdRuns.empty()
    instruments = [catalogue.add_if_new(row[:2], Instrument(symbol=row[2], base="", quote="")) for row in rows]
    return runs_of(np.array(instruments, np.int32), np.array([row[3] for row in rows], np.int64),
                   np.array([row[4] for row in rows], np.int64))


class Tally:
    """Updates one data folder's ledger of minutes. Its methods block and belong to one thread.

    segments(): returns the readable segments, oldest first.
    """

    def __init__(self, folder: Path, segments: Callable[[], Sequence[Segment]], id_kind_of: IdKindOf, clock: Clock) -> None:
        self._folder, self._segments, self._id_kind_of, self._clock = folder, segments, id_kind_of, clock
        self._catalogue = Catalogue()  # separate, so that a number means one instrument in every file
        self._file: CoverageFile | None = None
        self.counted_upto = 0  # any thread may read it
        self.opened = 0  # the number of opened files: after damage there is another one

    def file(self) -> CoverageFile:
        """Return the open file. A damaged file is set aside, and the trades that the journal still has are counted again."""
        if self._file is None:
            try:
                self._file = CoverageFile(self._folder)
                self.counted_upto = self._file.counted_upto
            except DamagedError as error:
                self._begin_new(error)
                self._file = CoverageFile(self._folder)
            self.opened += 1
        return self._file

    def _begin_new(self, error: DamagedError) -> None:
        self.close()
        aside = set_aside(self._folder, self._clock.now_ns())
        log.error("ledger of minutes damaged, rebuilding it from the journal file=%s kept_as=%s reason=%s",
                  FILE_NAME, aside.name, error.message)
        self.counted_upto = 0

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def step(self) -> bool:
        """Count some batches; return whether more are waiting. Raises StorageError if the disk fails or a file is locked."""
        try:
            return self._step(self.file())
        except DamagedError as error:
            self._begin_new(error)
            return True

    def _step(self, file: CoverageFile) -> bool:
        began_ns = self._clock.now_ns()
        segments = list(self._segments())
        newest = max((segment.last_id for segment in segments), default=0)
        if segments and newest < self.counted_upto:  # another journal is in this folder
            file.begin_again(min(segment.created_ns for segment in segments))
            self.counted_upto = 0
        figures, upto, locked = Figures(self._catalogue, self._id_kind_of), self.counted_upto, False
        for segment in segments:
            if segment.last_id > upto and figures.rows < STEP_ROWS:
                locked = segment.locked
                if locked:  # it must be read before later segments
                    break
                upto = self._count(segment, upto, figures)
        caught_up = upto >= newest
        if upto > self.counted_upto or caught_up:
            file.add(*figures.total(), self._catalogue, upto, began_ns if caught_up else 0)
            self.counted_upto = upto
        return not caught_up and not locked

    def _count(self, segment: Segment, after_id: int, figures: Figures) -> int:
        """Count the batches of a file after an id, about STEP_ROWS rows; return the last counted batch."""
        try:
            reader = SegmentReader(segment.path, self._catalogue, ignore_damage)
        except (sqlite3.Error, StorageError) as error:
            raise_if_temporary(error, segment.path)
            return segment.last_id
        try:
            upto = segment.last_id
            for number, batch in reader.after(max(after_id, segment.first_id - 1), segment.last_id):
                figures.add(batch)
                if figures.rows >= STEP_ROWS:
                    upto = number
                    break
        finally:
            reader.close()
        figures.add_figures(Minutes.empty(), void_runs(segment.path, after_id, upto, self._catalogue))
        return upto
