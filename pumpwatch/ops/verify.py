"""Read every stored trade, and compare the trades with those that should be stored.

Every batch of every segment is read through the journal's reader, which verifies its checksum, and compared with the segment's
own figures. With `sinks`, each trade that a sink has acknowledged is looked up in that sink, except trades that the sink deletes
because of their age. Verifying is safe beside a running collector; the segment being written is read as far as it is committed.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_S
from pumpwatch.errors import PumpWatchError, StorageError
from pumpwatch.hookspecs import Sink
from pumpwatch.model import TradeBatch
from pumpwatch.sink_abilities import KeepingSink
from pumpwatch.store.missing import missing_files
from pumpwatch.store.reader import JournalReader, SegmentReader
from pumpwatch.store.segment import Segment
from pumpwatch.store.soundness import Soundness
from pumpwatch.store.sqlite import connect
from pumpwatch.store.watermarks import complete_marks

CHUNK_ROWS = 50_000  # compared with a sink at a time
APART_NS = 10 * NS_PER_S  # trades further apart are queried separately: a stray one must not fetch a day
RETRY_S = 1.0
VISIBLE_WITHIN_S = 30.0  # from its arrival: a trade that was just acknowledged may become visible a little later
JOURNAL_HINT = "check the disk; a backup (`pumpwatch restore`) or a sink (`pumpwatch trades`) may have these trades"
SINK_HINT = "a running collector sends again what a sink has lost of the last hours; see its log and that of the sink"
EDGE_S = 3600.0  # trades this close to a sink's age limit are not expected in it


@dataclass(slots=True)
class CheckedSegment:
    """The result for one segment, in the journal or in one sink (`where`). problems: one line each."""

    segment: str
    where: str  # journal, or a sink's name
    expected: int
    found: int
    problems: list[str]

    @property
    def good(self) -> bool:
        """Return whether everything that should be stored is stored."""
        return self.expected == self.found and not self.problems

    @property
    def hint(self) -> str:
        """Return what to do about the problems; empty without problems."""
        if self.good:
            return ""
        return JOURNAL_HINT if self.where == "journal" else SINK_HINT


def verify(folder: Path, sinks: Mapping[str, Sink] | None = None) -> Iterator[CheckedSegment]:
    """Yield the results segment by segment, oldest first. Raises StorageError without a journal."""
    if not (folder / "journal").is_dir():
        raise StorageError(f"{folder}: no journal in this folder", "give the collector's config with -c, or set store.dir")
    catalogue = Catalogue()
    journal = JournalReader(folder, catalogue)
    segments = journal.segments()
    for text in journal.unreadable:
        name, _, reason = text.partition(": ")
        yield CheckedSegment(name, "journal", 0, 0, [reason or "the file cannot be read"])
    for missing in missing_files(folder, segments):
        yield CheckedSegment(missing.name, "journal", missing.trades, 0, [missing.why])
    marks = acknowledged_by(segments)
    for segment in segments:
        yield from _verify_segment(segment, catalogue, sinks or {}, marks)


def _verify_segment(segment: Segment, catalogue: Catalogue, sinks: Mapping[str, Sink],
                    marks: Mapping[str, int]) -> Iterator[CheckedSegment]:
    journal = CheckedSegment(segment.path.name, "journal", segment.trades, 0, [])
    others = {name: CheckedSegment(segment.path.name, name, 0, 0, []) for name in sinks}
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
    except StorageError as error:  # another process locks it
        journal.problems.append(str(error))
    finally:
        reader.close()
    soundness = Soundness(segment)  # finds readable batches that queries would miss
    soundness.step(float("inf"))
    journal.problems += [line for line in soundness.lines() if line.partition(":")[0] not in
                         {problem.partition(":")[0] for problem in journal.problems}]
    yield journal
    for name, sink in sinks.items():
        _compare(others[name], sink, waiting[name], catalogue)
        yield others[name]


def _compare(checked: CheckedSegment, sink: Sink, waiting: list[TradeBatch], catalogue: Catalogue) -> None:
    """Look up these trades in the sink, and clear the list."""
    batch = TradeBatch.concat(waiting)
    waiting.clear()
    if not len(batch) or checked.problems:
        return
    try:
        batch = batch.take(batch.timestamp >= kept_from_ns(sink))
        checked.expected += len(batch)
        missing = _missing(batch, sink, catalogue)
        while len(missing) and int(missing.received_at.max()) > time.time_ns() - int(VISIBLE_WITHIN_S * NS_PER_S):
            time.sleep(RETRY_S)
            missing = _missing(missing, sink, catalogue)
    except PumpWatchError as error:
        checked.problems.append("; ".join(filter(None, (error.message, error.hint))))
        return
    checked.found += len(batch) - len(missing)
    if len(missing):
        exchange, market, symbol = catalogue.names(missing.instrument[:1])[0]
        checked.problems.append(f"{len(missing):,} trades are missing, the first: {exchange} {market} {symbol} "
                                f"{missing.id_texts()[0]} at {int(missing.timestamp[0])}")


def kept_from_ns(sink: Sink) -> int:
    """Return the time from which on a sink keeps its trades, ns since 1970; 0 if it keeps all."""
    keeps_s = sink.keeping().keeps_s if isinstance(sink, KeepingSink) else 0.0
    return time.time_ns() - int((keeps_s - EDGE_S) * NS_PER_S) if keeps_s else 0


def _missing(batch: TradeBatch, sink: Sink, catalogue: Catalogue) -> TradeBatch:
    """Return the trades that the sink does not return. Trades that are close together in time are queried together."""
    order = np.argsort(batch.timestamp, kind="stable")
    cuts = np.flatnonzero(np.diff(batch.timestamp[order]) > APART_NS) + 1
    parts = [batch.take(rows) for rows in np.split(order, cuts) if len(rows)]
    missing = []
    for part in parts:
        found = sink.read(catalogue.names(np.unique(part.instrument)), int(part.timestamp[0]), int(part.timestamp[-1]) + 1,
                          catalogue)
        missing.append(part.take(~np.isin(_identities(part), _identities(found))))
    return TradeBatch.concat(missing)


def _identities(batch: TradeBatch) -> NDArray[np.str_]:
    """Return the identity of each trade as text: instrument, time, id."""
    return np.array([f"{number}|{at}|{text}" for number, at, text in
                     zip(batch.instrument.tolist(), batch.timestamp.tolist(), batch.id_texts(), strict=True)], dtype=np.str_)


def acknowledged_by(segments: list[Segment]) -> dict[str, int]:
    """Return the last batch up to which each sink has acknowledged every instrument, from the newest segment with that record."""
    marks: dict[str, int] = {}
    for segment in segments:
        try:
            connection = connect(segment.path, read_only=True)
            try:
                marks |= dict(connection.execute("SELECT sink, batch_id FROM acknowledged").fetchall())
            finally:
                connection.close()
        except sqlite3.Error:
            continue  # reported in the result of this segment
    return complete_marks(marks)
