"""Judge whether candles are complete, by gaps and watched symbols, and find the times whose trades are missing.

A minute is judged two minutes after its end, because a dead connection is noticed late. When a gap begins, grows, is filled or is
lost, its minutes are judged again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pumpwatch.market.candle_columns import CandleColumns, CandleOrigin, Series
from pumpwatch.market.interfaces import CandleStore
from pumpwatch.market.intervals import MINUTE, MINUTE_NS
from pumpwatch.market.journal_follower import Write
from pumpwatch.model import Gap
from pumpwatch.ops.minute_states import State, Timeline, timeline
from pumpwatch.records import GapFill
from pumpwatch.store.coverage import CoverageFile, Venue, Watched
from pumpwatch.store.ledger import Ledger, is_missing
from pumpwatch.store.pending_records import gap_key
from pumpwatch.store.waiting import waiting_gaps

WORSE = (State.GAP, State.UNREAD)  # states of minutes whose trades may be missing
MOST_MINUTES = 1440  # that are judged at a time
Span = tuple[int, int]  # minutes since 1970, [first, end)


@dataclass(slots=True)
class MinuteEvidence:
    """A collector's records about [start_ns, end_ns), by venue. until_ns: nothing was recorded after this time."""

    gaps: dict[Venue, list[Gap]] = field(default_factory=dict)
    fills: dict[Venue, list[GapFill]] = field(default_factory=dict)
    watched: dict[Venue, list[Watched]] = field(default_factory=dict)
    until_ns: int = 2**62

    def timeline(self, venue: Venue, symbols: Sequence[str], first: int, end: int) -> Timeline:
        """Return the states of a venue's symbols in the minutes [first, end), as if none of them had traded."""
        none = np.zeros((len(symbols), end - first), np.int64)
        return timeline(venue, symbols, none, first, self.gaps.get(venue, ()), self.fills.get(venue, ()),
                        self.watched.get(venue, ()))

    def prints(self) -> dict[object, tuple[object, ...]]:
        """Return a fingerprint of each gap: if it differs from an earlier one, the gap's minutes are judged again."""
        states: dict[object, list[tuple[str, str, int]]] = {}
        for fill in (fill for fills in self.fills.values() for fill in fills):
            states.setdefault(gap_key(fill.gap), []).append((fill.symbol, str(fill.state), fill.lost_to_ns))
        return {gap_key(gap): (str(gap.state), gap.to_ns, hash(tuple(sorted(states.get(gap_key(gap), ())))))
                for gaps in self.gaps.values() for gap in gaps}


def evidence(folder: Path, start_ns: int, end_ns: int) -> MinuteEvidence:
    """Read the records of a data folder, beside its collector. Raises StorageError."""
    found = MinuteEvidence()
    file = CoverageFile(folder, read_only=True)
    try:
        for now in file.watched():
            found.watched.setdefault((now.exchange, now.market_type), []).append(now)
    finally:
        file.close()
    if is_missing(folder):
        return found
    ledger = Ledger(folder, read_only=True)
    try:
        for gap in [*ledger.gaps_between(start_ns, end_ns), *waiting_gaps(folder)]:
            found.gaps.setdefault((gap.exchange, gap.market_type), []).append(gap)
        for fill in ledger.fills_between(start_ns, end_ns):
            found.fills.setdefault((fill.gap.exchange, fill.gap.market_type), []).append(fill)
    finally:
        ledger.close()
    return found


class Verdicts:
    """Keeps `complete` of a store's candles in agreement with the records."""

    def __init__(self, store: CandleStore, write: Write | None = None) -> None:
        self._store = store
        self._write = write or (lambda series, rows, marks: store.write(MINUTE, series, rows, marks))
        self._prints: dict[object, tuple[object, ...]] = {}

    def changed_spans(self, records: MinuteEvidence) -> dict[Venue, list[Span]]:
        """Return the minutes of gaps that are not as they were at the last call; at first those of every gap."""
        prints, spans = records.prints(), dict[Venue, list[Span]]()
        for venue, gaps in records.gaps.items():
            for gap in gaps:
                key = gap_key(gap)
                if self._prints.get(key) != prints[key]:
                    spans.setdefault(venue, []).append((gap.from_ns // MINUTE_NS, -(-gap.to_ns // MINUTE_NS)))
        self._prints = prints
        return {venue: merged_spans(found) for venue, found in spans.items()}

    def judge(self, records: MinuteEvidence, first: int, end: int,
              venues: Sequence[Venue] | None = None) -> list[tuple[Series, int]]:
        """Judge the stored candles of the minutes [first, end), and store those whose verdict has changed.

        Returns the series and minutes whose candle is a venue's although all trades are stored by now.
        """
        ours: list[tuple[Series, int]] = []
        for venue, names in _by_venue(self._store.series()).items():
            if venues is None or venue in venues:
                for at in range(first, end, MOST_MINUTES):
                    ours += self._judge(records, venue, names, at, min(at + MOST_MINUTES, end))
        return ours

    def _judge(self, records: MinuteEvidence, venue: Venue, series: Sequence[Series], first: int,
               end: int) -> list[tuple[Series, int]]:
        rows = self._store.read_many(series, MINUTE, first * MINUTE_NS, end * MINUTE_NS)
        if not len(rows):
            return []
        minutes, complete = rows.timestamp // MINUTE_NS, verdicts(records, series, rows)
        by_venue = rows.origin == CandleOrigin.VENUE
        different = np.flatnonzero((rows.complete != complete) & ~by_venue)
        if len(different):
            self._write(series, with_verdict(rows.take(different), complete[different]), None)
        back = np.flatnonzero(by_venue & complete)
        return [(series[place], minute) for place, minute in zip(rows.series[back].tolist(), minutes[back].tolist(), strict=True)]


def verdicts(records: MinuteEvidence, series: Sequence[Series], rows: CandleColumns) -> NDArray[np.bool_]:
    """Return whether each candle of trades is complete."""
    complete, rank = np.zeros(len(rows), np.bool_), np.zeros(len(series), np.intp)
    if not len(rows):
        return complete
    minutes, places = rows.timestamp // MINUTE_NS, {name: place for place, name in enumerate(series)}
    first, end = int(minutes.min()), int(minutes.max()) + 1
    for venue, names in _by_venue(series).items():
        own = [places[name] for name in names]
        rank[own] = range(len(own))
        line, chosen = records.timeline(venue, [symbol for _, _, symbol in names], first, end), np.isin(rows.series, own)
        complete[chosen] = ~np.isin(line.states[rank[rows.series[chosen]], minutes[chosen] - first], WORSE)
    return complete


def with_verdict(rows: CandleColumns, complete: NDArray[np.bool_]) -> CandleColumns:
    """Return candles with these verdicts."""
    return replace(rows, complete=complete)


def missing_spans(line: Timeline) -> dict[str, list[Span]]:
    """Return for each symbol the minutes whose trades may be missing, oldest first; symbols without any are left out."""
    found: dict[str, list[Span]] = {}
    for row, symbol in enumerate(line.symbols):
        worse = np.isin(line.states[row], WORSE)
        edges = np.flatnonzero(np.diff(np.concatenate(([False], worse, [False])).astype(np.int8)))
        if len(edges):
            found[symbol] = [(line.first + first, line.first + end) for first, end in edges.reshape(-1, 2).tolist()]
    return found


def merged_spans(spans: Sequence[Span]) -> list[Span]:
    """Return spans in order, those that touch as one."""
    found: list[Span] = []
    for first, end in sorted(spans):
        if found and first <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        elif first < end:
            found.append((first, end))
    return found


def _by_venue(series: Sequence[Series]) -> Mapping[Venue, list[Series]]:
    return {venue: list(names) for venue, names in groupby(sorted(series), lambda name: name[:2])}
