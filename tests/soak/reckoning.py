"""Compare a run with the ground truth: trades one by one, and minutes one by one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_S
from pumpwatch.config import Config
from pumpwatch.errors import StorageError
from pumpwatch.hookspecs import Sink
from pumpwatch.model import Gap, GapState, TradeBatch
from pumpwatch.ops.completeness import Judge, VenueFacts
from pumpwatch.ops.minute_states import State
from pumpwatch.ops.status_file import read_figures
from pumpwatch.plugins import load_plugins
from pumpwatch.records import GapFill
from pumpwatch.sim.ground_truth import Truth
from pumpwatch.sim.reconcile import compare, names_of, numbered
from pumpwatch.store.coverage import Venue
from pumpwatch.store.ledger import Ledger
from pumpwatch.store.minutes import MINUTE_NS
from pumpwatch.store.pending_records import gap_key
from pumpwatch.store.reader import JournalReader, SegmentReader
from tests.app.coverage import Sent, covered, missing

AT_ONCE = 200_000  # trades read before they are split by venue


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of a scenario. sent: trades that were made; unnamed: those that are missing and in no gap that is open or lost.

    false_complete: symbols' minutes called complete, filled or quiet of which a trade is missing. false_alarms: symbols' minutes
    called gaps of which every trade is stored, with nothing left to be filled. filled_s: from the end of the last harm until
    every gap was done; the run is good only if that was within filled_within_s. sink_differs: rows that only the journal has, and
    those that only the sink has.
    """

    sent: int
    stored: int
    missing: int
    doubled: int
    different: int
    unknown: int
    unnamed: int
    false_complete: int
    false_alarms: int
    minutes: int
    gaps: dict[str, int]
    lost_reasons: dict[str, int]
    notes: dict[str, Any]
    filled_s: float = 0.0
    filled_within_s: float = 0.0
    sink_differs: int = 0

    @property
    def good(self) -> bool:
        """Return whether nothing is lost without a name, doubled, or claimed falsely."""
        return not (self.doubled or self.different or self.unknown or self.unnamed or self.false_complete
                    or self.sink_differs or self.filled_s > self.filled_within_s)

    def figures(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return asdict(self)


def reckon(truth: Truth, folder: Path, filled_s: float = 0.0, filled_within_s: float = 0.0, sink: Sink | None = None,
           **notes: Any) -> Result:
    """Compare a folder, whose collector has ended, with the trades that the venues made while it ran, was killed or cut off.

    A sink that has got everything is compared too.
    """
    stored, catalogue = stored_by_venue(folder)
    counts, gone = Counter[str](), list[Sent]()
    sink_differs = 0
    for venue in truth.venues:
        part, batch = truth.only(venue), stored.pop(_key(venue), TradeBatch.empty())
        counted = compare(part, batch, catalogue, made=True)
        counts.update(counted.figures())
        gone += missing(part, counted)
        if sink:
            sink_differs += differing(batch, sink.read(names_of(part), 0, 2**62, catalogue))
    ledger = Ledger(folder, read_only=True)
    gaps = [gap for _, gap in ledger.gaps()]
    fills = {(gap_key(fill.gap), fill.symbol): fill for fill in ledger.fills_between(0, 2**62)}
    ledger.close()
    minutes, false_complete, false_alarms = _judge_minutes(truth, folder, gone)
    return Result(
        sent=counts["sent"], stored=counts["stored"], missing=counts["missing"], doubled=counts["doubled"],
        different=counts["different"], unknown=counts["unknown"] + sum(map(len, stored.values())),
        unnamed=len(unnamed(gone, gaps, fills)), false_complete=false_complete, false_alarms=false_alarms, minutes=minutes,
        gaps={state.value: sum(gap.state == state for gap in gaps) for state in GapState},
        lost_reasons=_reasons(fills.values()), notes=notes, filled_s=round(filled_s, 1), filled_within_s=filled_within_s,
        sink_differs=sink_differs)


def _key(venue: str) -> Venue:
    exchange, _, market_type = venue.partition(".")
    return exchange, market_type


def stored_by_venue(folder: Path) -> tuple[dict[Venue, TradeBatch], Catalogue]:
    """Return all trades of the journal in a folder, and their catalogue. Raises StorageError where a file is not whole."""
    catalogue = Catalogue()
    journal = JournalReader(folder, catalogue)
    found: dict[Venue, list[TradeBatch]] = {}
    for segment in journal.segments():
        reader = SegmentReader(segment.path, catalogue, _refuse)
        batches = (batch for _, batch in reader.after(segment.first_id - 1, segment.last_id))
        while waiting := list(_some(batches)):
            batch = TradeBatch.concat(waiting)
            venues = np.unique(np.array([".".join(venue) for venue in catalogue.venues]), return_inverse=True)
            for number, venue in enumerate(venues[0].tolist()):
                rows = np.flatnonzero(venues[1][batch.instrument] == number)
                if len(rows):
                    found.setdefault(_key(venue), []).append(_narrow(batch.take(rows)))
        reader.close()
    if journal.unreadable:
        raise StorageError(f"not readable: {journal.unreadable}")
    return {venue: TradeBatch.concat(batches) for venue, batches in found.items()}, catalogue


def _some(batches: Iterator[TradeBatch]) -> Iterator[TradeBatch]:
    """Yield batches until they have AT_ONCE trades together."""
    rows = 0
    while rows < AT_ONCE and (batch := next(batches, None)) is not None:
        rows += len(batch)
        yield batch


def _narrow(batch: TradeBatch) -> TradeBatch:
    """Return a batch whose text ids are as wide as they must be, None where there are none."""
    if batch.text_id is None:
        return batch
    width = int(np.char.str_len(batch.text_id).max())
    return replace(batch, text_id=batch.text_id.astype(f"S{width}") if width else None)


def _refuse(file: Path, batch_id: int, reason: str) -> None:
    raise StorageError(f"{file}: batch {batch_id}: {reason}")


def unnamed(gone: Iterable[Sent], gaps: Iterable[Gap], fills: Mapping[tuple[Any, str], GapFill]) -> list[Sent]:
    """Return the missing trades that are in no gap that is open or lost."""
    by_venue: dict[Venue, list[Gap]] = {}
    for gap in gaps:
        if gap.state != GapState.FILLED:
            by_venue.setdefault((gap.exchange, gap.market_type), []).append(gap)
    named: dict[tuple[str, str, str], list[Gap]] = {}
    for exchange, market_type, symbol, *_ in gone:
        if (exchange, market_type, symbol) not in named:
            named[exchange, market_type, symbol] = [
                gap for gap in by_venue.get((exchange, market_type), ())
                if gap.touches(symbol) and not _filled(gap, symbol, fills)]
    return [sent for sent in gone if not covered(sent, named[sent[:3]])]


def differing(first: TradeBatch, second: TradeBatch) -> int:
    """Return how many rows only one of two batches has; a row that comes twice counts twice."""
    numbers = numbered(_columns(first), _columns(second))
    counts = [np.bincount(part, minlength=len(first) + len(second)) for part in numbers]
    return int(np.abs(counts[0] - counts[1]).sum())


def _columns(batch: TradeBatch) -> tuple[Any, ...]:
    ids = batch.trade_id.astype("S20")  # a sink may read as text what the journal has as a number
    if batch.text_id is not None:
        ids = np.where(batch.text_id != b"", batch.text_id, ids)
    return batch.instrument, batch.timestamp, batch.price, batch.quantity, batch.side, ids


def _filled(gap: Gap, symbol: str, fills: Mapping[tuple[Any, str], GapFill]) -> bool:
    fill = fills.get((gap_key(gap), symbol))
    return fill is not None and fill.state == GapState.FILLED


def _reasons(fills: Any) -> dict[str, int]:
    reasons: dict[str, int] = {}
    for fill in fills:
        if fill.state == GapState.LOST:
            reasons[fill.reason] = reasons.get(fill.reason, 0) + 1
    return reasons


def _judge_minutes(truth: Truth, folder: Path, gone: list[Sent]) -> tuple[int, int, int]:
    """Return the number of judged minutes, and of those that are called complete or a gap falsely."""
    facts = {(venue.exchange, venue.market_type): VenueFacts(venue.id_kind, venue.history.skips_ids)
             for venue in load_plugins(Config()).venues if not venue.variant}
    lost: dict[Venue, list[tuple[str, int]]] = {}
    for exchange, market, symbol, _, at_ns in gone:
        lost.setdefault((exchange, market), []).append((symbol, at_ns // MINUTE_NS))
    judge = Judge(folder, facts, int(read_figures(folder)["written_at_ns"]))
    count = false_complete = false_alarms = 0
    first_ns = int(truth.records["timestamp"].min()) // MINUTE_NS * MINUTE_NS
    for day in judge.days(first_ns, int(truth.records["timestamp"].max()) + 60 * NS_PER_S):
        for venue, line in day.timelines.items():
            count += line.states.size
            really, row_of = np.zeros(line.states.shape, np.bool_), {symbol: row for row, symbol in enumerate(line.symbols)}
            for symbol, minute in lost.get(venue, ()):
                if symbol in row_of and line.first <= minute < line.end:
                    really[row_of[symbol], minute - line.first] = True
            false_complete += int(((line.states < State.GAP) & really).sum())
            false_alarms += int(((line.states == State.GAP) & ~really).sum())
    return count, false_complete, false_alarms
