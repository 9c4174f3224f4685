"""Read everything that is stored, and compare it with what should be there.

Every batch of every segment is read through the journal's own reader, its checksums included, and counted against the
segment's own figures. With `sinks` each trade that a sink has acknowledged is looked for in it. Works beside a running
collector; the segment being written is read as far as it was committed when its turn came.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pumpwatch.catalogue import Catalogue
from pumpwatch.errors import PumpWatchError, StorageError
from pumpwatch.hookspecs import Sink
from pumpwatch.model import TradeBatch
from pumpwatch.store.missing import missing_files
from pumpwatch.store.reader import JournalReader, SegmentReader
from pumpwatch.store.segment import Segment
from pumpwatch.store.soundness import Soundness
from pumpwatch.store.sqlite import connect

CHUNK_ROWS = 50_000  # compared with a sink at a time


@dataclass(slots=True)
class Checked:
    """One segment, or one segment in one sink (`where`). `problems` are lines for a person."""

    segment: str
    where: str  # journal, or a sink's name
    expected: int
    found: int
    problems: list[str]

    @property
    def good(self) -> bool:
        """Whether everything that should be there is."""
        return self.expected == self.found and not self.problems


def verify(folder: Path, sinks: Mapping[str, Sink] | None = None) -> Iterator[Checked]:
    """Yield what was found, segment by segment, oldest first. Raises StorageError where there is no journal."""
    if not (folder / "journal").is_dir():
        raise StorageError(f"{folder}: no journal in this folder", "give the collector's config with -c, or set store.dir")
    catalogue = Catalogue()
    journal = JournalReader(folder, catalogue)
    segments = journal.segments()
    for text in journal.unreadable:
        name, _, reason = text.partition(": ")
        yield Checked(name, "journal", 0, 0, [reason or "it cannot be read"])
    for one in missing_files(folder, segments):
        yield Checked(one.name, "journal", one.trades, 0, [one.why])
    marks = _acknowledged(segments)
    for segment in segments:
        yield from _verify_segment(segment, catalogue, sinks or {}, marks)


def _verify_segment(segment: Segment, catalogue: Catalogue, sinks: Mapping[str, Sink],
                    marks: Mapping[str, int]) -> Iterator[Checked]:
    journal = Checked(segment.path.name, "journal", segment.trades, 0, [])
    others = {name: Checked(segment.path.name, name, 0, 0, []) for name in sinks}
    waiting: dict[str, list[TradeBatch]] = {name: [] for name in sinks}
    try:
        reader = SegmentReader(segment.path, catalogue,
                               lambda _, batch_id, why: journal.problems.append(f"batch {batch_id}: {why}"))
    except (sqlite3.Error, StorageError) as error:
        journal.problems.append(str(error))
        yield journal
        return
    try:
        for batch_id, batch in reader.after(segment.first_id - 1, segment.last_id):
            journal.found += len(batch)
            for name, sink in sinks.items():
                if batch_id <= marks.get(name, 0):
                    waiting[name].append(batch)
                    if sum(map(len, waiting[name])) >= CHUNK_ROWS:
                        _compare(others[name], sink, waiting[name], catalogue)
    finally:
        reader.close()
    look = Soundness(segment)  # what a query would not find, though all of it can be read
    look.step(float("inf"))
    journal.problems += [line for line in look.lines() if line.partition(":")[0] not in
                         {problem.partition(":")[0] for problem in journal.problems}]
    yield journal
    for name, sink in sinks.items():
        _compare(others[name], sink, waiting[name], catalogue)
        yield others[name]


def _compare(checked: Checked, sink: Sink, waiting: list[TradeBatch], catalogue: Catalogue) -> None:
    """Look for these trades in the sink, and forget them."""
    batch = TradeBatch.concat(waiting)
    waiting.clear()
    if not len(batch) or checked.problems:
        return
    checked.expected += len(batch)
    names = catalogue.names(np.unique(batch.instrument))
    try:
        there = sink.read(names, int(batch.timestamp.min()), int(batch.timestamp.max()) + 1, catalogue)
    except PumpWatchError as error:
        checked.problems.append(error.message)
        return
    present = np.isin(_identities(batch), _identities(there))
    checked.found += int(present.sum())
    if not present.all():
        missing = batch.take(~present)
        exchange, market, symbol = catalogue.names(missing.instrument[:1])[0]
        checked.problems.append(f"{len(missing):,} trades are not there, the first: {exchange} {market} {symbol} "
                                f"{missing.id_texts()[0]} at {int(missing.timestamp[0])}")


def _identities(batch: TradeBatch) -> NDArray[np.str_]:
    """Return what makes each trade that trade, as text: instrument, time, id."""
    return np.array([f"{number}|{at}|{text}" for number, at, text in
                     zip(batch.instrument.tolist(), batch.timestamp.tolist(), batch.id_texts(), strict=True)], dtype=np.str_)


def _acknowledged(segments: list[Segment]) -> dict[str, int]:
    """Return up to which batch each sink has acknowledged, the newest of what the segments say."""
    marks: dict[str, int] = {}
    for segment in segments:
        try:
            connection = connect(segment.path, read_only=True)
            try:
                for sink, number in connection.execute("SELECT sink, batch_id FROM acknowledged"):
                    marks[sink] = max(number, marks.get(sink, 0))
            finally:
                connection.close()
        except sqlite3.Error:
            continue  # its own turn names what is wrong with it
    return marks
