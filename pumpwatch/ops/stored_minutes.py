"""Gather the stored figures of a time: from the journal, and for expired trades from the ledger of minutes.

Reading the journal is the stronger evidence: it shows the trades that are stored now. If the ledger of minutes once counted more,
the difference is found. With `quick`, the ledger is used, and only trades that it has not counted yet are read.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pumpwatch.catalogue import Catalogue
from pumpwatch.errors import StorageError
from pumpwatch.model import Int64, TradeBatch
from pumpwatch.store.coverage import HOUR_NS, CoverageFile, Venue
from pumpwatch.store.id_runs import IdRuns, union
from pumpwatch.store.minutes import MINUTE_NS, FlaggedSum, Minutes, joined, minutes_of, sums_by_flags
from pumpwatch.store.query import Name, merged
from pumpwatch.store.reader import JournalReader, SegmentReader, ignore_damage
from pumpwatch.store.segment import Segment
from pumpwatch.store.tally import Figures, IdKindOf, void_runs

BEFORE_NS, BEHIND_NS = HOUR_NS, MINUTE_NS  # read beyond the requested time, so that ids around its ends are known
Progress = Callable[[int, int], None]  # trades read, trades to read


def no_progress(done: int, total: int) -> None:
    """Show nothing."""


@dataclass(slots=True)
class StoredMinutes:
    """The figures of a time, by the instruments of `catalogue`.

    minutes: of the requested time. runs: the ids of a slightly longer time. lost: minutes with fewer or other trades than were
    counted before; `trades` is the number of missing ones. waiting: for each sink the keys of minutes with trades that it has
    not acknowledged yet.
    """

    catalogue: Catalogue
    minutes: Minutes
    runs: IdRuns
    lost: Minutes
    waiting: dict[str, Int64] = field(default_factory=dict)


class Store:
    """One data folder, read by another process than its collector. `unreadable`: a line for each unreadable part."""

    def __init__(self, folder: Path, id_kind_of: IdKindOf, marks: Mapping[str, int] | None = None) -> None:
        """`marks`: the last batch that each sink has acknowledged."""
        self.catalogue = Catalogue()
        self._folder, self._id_kind_of, self._marks = folder, id_kind_of, marks or {}
        self._journal = JournalReader(folder, self.catalogue)
        self._journal.load_instruments()
        self.segments = self._journal.segments()
        self.unreadable = self._journal.unreadable

    @property
    def last_received_ns(self) -> int:
        """Return when the newest trade arrived, ns since 1970; 0 without one."""
        return max((segment.last_received for segment in self.segments), default=0)

    def read(self, first: int, end: int, quick: bool = False, progress: Progress = no_progress,
             venues: Sequence[Venue] | None = None) -> StoredMinutes:
        """Return the figures of the minutes [first, end). Raises StorageError if a file is locked.

        With `venues`, the ledger of minutes is read only for these, which takes less memory.
        """
        start_ns, end_ns = first * MINUTE_NS - BEFORE_NS, end * MINUTE_NS + BEHIND_NS
        file = CoverageFile(self._folder, read_only=True)
        try:
            counted_upto = file.counted_upto
            recorded = file.read(start_ns, end_ns, self.catalogue, venues)
        finally:
            file.close()
        figures = Figures(self.catalogue, self._id_kind_of)
        waiting: dict[str, list[Int64]] = {name: [] for name in self._marks}
        for number, batch in self._batches(start_ns, end_ns, counted_upto if quick else 0, figures, progress):
            figures.add(batch)
            for name, mark in self._marks.items():
                if number > mark:
                    waiting[name].append(minutes_of(batch).keys())
        found, runs = figures.total()
        return self._together(first, end, found, runs, recorded.minutes, recorded.runs, quick,
                              {name: np.unique(np.concatenate(keys)) if keys else np.empty(0, np.int64)
                               for name, keys in waiting.items()})

    def distinct(self, instrument: int, minute: int) -> Minutes:
        """Return the figures of one instrument's distinct trades in a minute; empty if they may have expired."""
        return minutes_of(self._distinct(self.catalogue.names([instrument])[0], minute))

    def by_flags(self, venue: Venue, symbol: str, minute: int) -> list[FlaggedSum]:
        """Return a symbol's distinct trades in a minute, summed by their flags; empty if they may have expired."""
        return sums_by_flags(self._distinct((*venue, symbol), minute))

    def _distinct(self, name: Name, minute: int) -> TradeBatch:
        if minute * MINUTE_NS < self._whole_from_ns():
            return TradeBatch.empty()
        return merged([self._journal.query([name], minute * MINUTE_NS, (minute + 1) * MINUTE_NS)])

    def _together(self, first: int, end: int, found: Minutes, runs: IdRuns, recorded: Minutes, recorded_runs: IdRuns,
                  quick: bool, waiting: dict[str, Int64]) -> StoredMinutes:
        if quick:
            return StoredMinutes(self.catalogue, joined([found, recorded]).between(first, end), union([runs, recorded_runs]),
                                 Minutes.empty(), waiting)
        whole_from = -(-self._whole_from_ns() // MINUTE_NS)  # earlier trades may have expired
        lost = less(found.between(max(first, whole_from), end), recorded.between(max(first, whole_from), end))
        old, now = recorded.between(first, min(end, whole_from)), found.between(first, min(end, whole_from))
        expired = old.take(_at(old, now.keys(), now.trades) < old.trades)
        still = now.take(~np.isin(now.keys(), expired.keys()))
        minutes = joined([still, expired, found.between(max(first, whole_from), end)])
        expired_runs = recorded_runs.take(recorded_runs.first_ns < whole_from * MINUTE_NS)
        return StoredMinutes(self.catalogue, minutes, union([runs, before(expired_runs, runs)]), lost, waiting)

    def _whole_from_ns(self) -> int:
        """Return since when every trade that was received is in the journal, with a margin for the venues' lag."""
        return min((segment.created_ns for segment in self.segments), default=2**62) + MINUTE_NS

    def _batches(self, start_ns: int, end_ns: int, after_id: int, figures: Figures,
                 progress: Progress) -> Iterator[tuple[int, TradeBatch]]:
        """Yield the batches after an id, cut to [start_ns, end_ns); void ids of that time go to the figures."""
        holding = [segment for segment in self.segments if segment.last_id > after_id and segment.last_timestamp >= start_ns
                   and segment.first_timestamp < end_ns]
        total, done = sum(segment.trades for segment in holding), 0
        for segment in holding:
            progress(done, total)
            read = 0
            for number, batch in self._batches_of(segment, start_ns, end_ns):
                read += len(batch)
                if number > after_id:
                    inside = (batch.timestamp >= start_ns) & (batch.timestamp < end_ns)
                    yield number, batch if inside.all() else batch.take(inside)
                    progress(done + read, total)
            voids = void_runs(segment.path, max(after_id, segment.first_id - 1), segment.last_id, self.catalogue)
            figures.add_figures(Minutes.empty(), voids.take((voids.first_ns >= start_ns) & (voids.first_ns < end_ns)))
            done += segment.trades
        progress(total, total)

    def _batches_of(self, segment: Segment, start_ns: int, end_ns: int) -> Iterator[tuple[int, TradeBatch]]:
        try:
            reader = SegmentReader(segment.path, self.catalogue, ignore_damage)
        except (sqlite3.Error, StorageError) as error:
            if segment.path.exists():
                self.unreadable.append(f"{segment.path.name}: {error}")
            return
        try:
            if segment.index_damaged:
                yield from reader.after(segment.first_id - 1, segment.last_id)
            else:
                yield from reader.between(start_ns, end_ns, segment.last_id)
        except sqlite3.Error as error:
            self.unreadable.append(f"{segment.path.name}: {error}")
        finally:
            reader.close()


def less(found: Minutes, recorded: Minutes) -> Minutes:
    """Return the recorded minutes with fewer or other trades now; `trades` is the number of missing ones."""
    now = _at(recorded, found.keys(), found.trades)
    checksum = _at(recorded, found.keys(), found.checksum)
    gone = recorded.trades - now
    other = (gone == 0) & (checksum != recorded.checksum) & (recorded.checksum != 0)
    rows = np.flatnonzero((gone > 0) | other)
    part = recorded.take(rows)
    return Minutes(part.instrument, part.minute, gone[rows], part.outside, part.joined, part.volume, part.checksum)


def before(recorded: IdRuns, found: IdRuns) -> IdRuns:
    """Return the recorded runs, each cut off where the ids read from the journal begin, so that it does not hide a hole there."""
    last, last_ns = recorded.last.copy(), recorded.last_ns.copy()
    keep = np.ones(len(recorded), np.bool_)
    starts = np.searchsorted(found.instrument, recorded.instrument, "left").tolist()
    ends = np.searchsorted(found.instrument, recorded.instrument, "right").tolist()
    for row, (start, end, first_id) in enumerate(zip(starts, ends, recorded.first.tolist(), strict=True)):
        at = start + int(np.searchsorted(found.last[start:end], first_id))  # the first run that was read and ends behind it
        if at < end and int(found.first[at]) <= int(last[row]):
            last[row], last_ns[row] = int(found.first[at]) - 1, found.first_ns[at]
            keep[row] = last[row] >= first_id
    return IdRuns(recorded.instrument, recorded.first, last, recorded.first_ns, last_ns).take(keep)


def _at(minutes: Minutes, keys: Int64, values: Int64) -> Int64:
    """Return for each row of `minutes` the value at its key; 0 if `keys`, which ascend, do not have it."""
    if not len(keys):
        return np.zeros(len(minutes), np.int64)
    wanted = minutes.keys()
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, values[at], 0)
