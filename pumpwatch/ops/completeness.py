"""Judge whether the trades of every symbol and minute of a time are complete, day by day.

The evidence is independent of the recording: stored trades are read again, consecutive ids are checked for holes, and the gaps of
the ledger are applied. A hole without a gap, and trades that were counted once and are no longer stored, are contradictions, and
their minutes count as gaps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from pumpwatch.clock import NS_PER_S
from pumpwatch.model import Gap, IdKind, Int64
from pumpwatch.ops.id_holes import NamedGaps
from pumpwatch.ops.minute_states import State, Timeline, timeline
from pumpwatch.ops.stored_minutes import Progress, Store, StoredMinutes, no_progress
from pumpwatch.records import GapFill
from pumpwatch.store.coverage import CoverageFile, Venue, Watched
from pumpwatch.store.id_runs import MissingIds, missing_between
from pumpwatch.store.ledger import Ledger, is_missing
from pumpwatch.store.minutes import MINUTE_NS
from pumpwatch.store.waiting import waiting_gaps

SETTLE_S = 120.0  # a minute is judged this long after its end, because a dead connection is noticed late
DAY_MINUTES = 24 * 60
HOLE_SLACK_NS = 60 * MINUTE_NS  # a gap with a hole's ids may end this long before the trade with the id before the hole
WORST, REASONS = 10, 100  # symbols and reasons of a venue in JSON
IDS_MISSING = "ids are missing"  # reason for minutes of a hole that a gap explains, but does not cover
NOT_RUNNING = "no collector has run since"
BY_ID, BY_CONNECTION = "id", "connection"
Chosen = Callable[[str, str, str], bool]  # exchange, market type, symbol


@dataclass(frozen=True, slots=True)
class VenueFacts:
    """The facts of a venue that decide the proof of completeness. skips_ids: its history leaves out ids that are not trades."""

    id_kind: IdKind
    skips_ids: bool

    @property
    def proof(self) -> str:
        """Return `id` if consecutive ids prove completeness, else `connection`: only the connection is known to have been up."""
        return BY_ID if self.id_kind == IdKind.CONTIGUOUS else BY_CONNECTION


@dataclass(frozen=True, slots=True)
class Contradiction:
    """A contradiction of the ledger. kind: hole, lost, candle, sink. Times in ns, [from, to)."""

    kind: str
    exchange: str
    market_type: str
    symbol: str
    from_ns: int
    to_ns: int
    detail: str

    def as_json(self) -> dict[str, Any]:
        """Return it with stable keys."""
        return {"what": self.kind, "exchange": self.exchange, "market_type": self.market_type, "symbol": self.symbol,
                "from_ns": self.from_ns, "to_ns": self.to_ns, "detail": self.detail}


@dataclass(slots=True)
class Day:
    """The minutes [first, end), at most a day: the figures, and the states of each venue's symbols."""

    first: int
    end: int
    stored: StoredMinutes
    timelines: dict[Venue, Timeline]
    flaws: list[Contradiction] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Ledgers:
    """The content of the ledgers of a data folder."""

    gaps: Mapping[Venue, Sequence[Gap]]
    fills: Mapping[Venue, Sequence[GapFill]]
    watched: Mapping[Venue, Sequence[Watched]]


class Judge:
    """Judges the minutes of one data folder.

    facts: of known venues; others count as venues without consecutive ids. ended_ns: when the last collector ended; None while
    one runs.
    """

    def __init__(self, folder: Path, facts: Mapping[Venue, VenueFacts], ended_ns: int | None = None,
                 marks: Mapping[str, int] | None = None) -> None:
        self._folder, self.facts, self.ended_ns = folder, facts, ended_ns
        self.store = Store(folder, self._id_kind_of, marks)

    def _id_kind_of(self, venue: Venue) -> IdKind:
        return self.facts[venue].id_kind if venue in self.facts else IdKind.UNIQUE

    def days(self, start_ns: int, end_ns: int, chosen: Chosen | None = None, quick: bool = False,
             progress: Progress = no_progress) -> Iterator[Day]:
        """Yield the whole minutes of [start_ns, end_ns), a day of UTC at a time."""
        first, end = -(-start_ns // MINUTE_NS), end_ns // MINUTE_NS
        while first < end:
            following = min(end, (first // DAY_MINUTES + 1) * DAY_MINUTES)
            yield self.day(first, following, chosen, quick, progress)
            first = following

    def day(self, first: int, end: int, chosen: Chosen | None = None, quick: bool = False,
            progress: Progress = no_progress, venues: Sequence[Venue] | None = None) -> Day:
        """Judge the minutes [first, end), at most a day, of all venues or of `venues`.

        Raises StorageError if a ledger cannot be read.
        """
        stored = self.store.read(first, end, quick, progress, venues)
        holes = [missing for missing in missing_between(stored.runs)
                 if missing.from_ns < end * MINUTE_NS and missing.to_ns >= first * MINUTE_NS]
        earliest_ns = min([first * MINUTE_NS, *(missing.from_ns for missing in holes)])
        ledgers = self._ledgers(earliest_ns - HOLE_SLACK_NS, end * MINUTE_NS)
        day = Day(first, end, stored, {})
        symbols: dict[Venue, set[str]] = {}
        for exchange, market_type, symbol in stored.catalogue.names(np.unique(stored.minutes.instrument)):
            symbols.setdefault((exchange, market_type), set()).add(symbol)
        for venue, known in ledgers.watched.items():
            for now, following in zip(known, [*known[1:], None], strict=True):
                if now.from_ns < end * MINUTE_NS and (following is None or following.from_ns > first * MINUTE_NS):
                    symbols.setdefault(venue, set()).update(now.symbols)
        for venue in sorted(symbols if venues is None else symbols.keys() & set(venues)):
            names = sorted(symbol for symbol in symbols[venue] if chosen is None or chosen(*venue, symbol))
            if names:
                rows = _matrix(stored, venue, names, first, end)
                day.timelines[venue] = timeline(venue, names, rows, first, ledgers.gaps.get(venue, ()),
                                                ledgers.fills.get(venue, ()), ledgers.watched.get(venue, ()))
        self._find_holes(day, ledgers, holes)
        _find_lost(day)
        return day

    def _ledgers(self, start_ns: int, end_ns: int) -> Ledgers:
        """Return the gaps and fills that overlap [start_ns, end_ns), and all records of watched symbols."""
        gaps: dict[Venue, list[Gap]] = {}
        fills: dict[Venue, list[GapFill]] = {}
        watched: dict[Venue, list[Watched]] = {}
        file = CoverageFile(self._folder, read_only=True)
        try:
            for now in file.watched():
                watched.setdefault((now.exchange, now.market_type), []).append(now)
        finally:
            file.close()
        if not is_missing(self._folder):
            ledger = Ledger(self._folder, read_only=True)
            try:
                for gap in [*ledger.gaps_between(start_ns, end_ns), *waiting_gaps(self._folder)]:
                    gaps.setdefault((gap.exchange, gap.market_type), []).append(gap)
                for fill in ledger.fills_between(start_ns, end_ns):
                    fills.setdefault((fill.gap.exchange, fill.gap.market_type), []).append(fill)
            finally:
                ledger.close()
        if self.ended_ns is not None and self.ended_ns < end_ns:
            for venue in {*watched, *gaps, *self.store.catalogue.venues}:
                gaps.setdefault(venue, []).append(Gap(exchange=venue[0], market_type=venue[1], from_ns=self.ended_ns,
                                                      to_ns=end_ns, reason=NOT_RUNNING))
        return Ledgers(gaps, fills, watched)

    def _find_holes(self, day: Day, ledgers: Ledgers, holes: Sequence[MissingIds]) -> None:
        catalogue = day.stored.catalogue
        named: dict[Venue, NamedGaps] = {}
        rows = {(venue, symbol): row for venue, line in day.timelines.items() for row, symbol in enumerate(line.symbols)}
        for missing in holes:
            venue, symbol = catalogue.venues[missing.instrument], catalogue.instruments[missing.instrument].symbol
            if (venue, symbol) not in rows or venue not in self.facts or _unread_within(ledgers.watched.get(venue, ()), symbol,
                                                                                        missing.from_ns, missing.to_ns):
                continue
            if venue not in named:
                named[venue] = NamedGaps(ledgers.gaps.get(venue, ()), ledgers.fills.get(venue, ()),
                                         skips_ids=self.facts[venue].skips_ids)
            for from_ns, to_ns in named[venue].uncovered(symbol, missing):
                day.timelines[venue].mark([rows[venue, symbol]], from_ns, to_ns, State.GAP, IDS_MISSING)
            for first, last in named[venue].unexplained(symbol, missing):
                reason = (f"the trade with id {first} is not stored, and no gap names it" if first == last else
                          f"{last - first + 1:,} trades, ids {first} to {last}, are not stored, and no gap names them")
                day.flaws.append(Contradiction("hole", *venue, symbol, missing.from_ns, missing.to_ns + 1, reason))
                day.timelines[venue].mark([rows[venue, symbol]], missing.from_ns, missing.to_ns + 1, State.GAP,
                                          "ids are missing that no gap names")


def _unread_within(watched: Sequence[Watched], symbol: str, from_ns: int, to_ns: int) -> bool:
    """Return whether a symbol was unwatched for a part of a time. Then missing ids prove nothing: others may have the trades."""
    return any(symbol not in now.symbols and now.from_ns < to_ns and (following is None or following.from_ns > from_ns)
               for now, following in zip(watched, [*watched[1:], None], strict=False))


def _matrix(stored: StoredMinutes, venue: Venue, symbols: Sequence[str], first: int, end: int) -> Int64:
    """Return the trades of these symbols as rows, of the minutes [first, end) as columns."""
    ids = stored.catalogue.ids_of(venue)
    row_of = np.full(len(stored.catalogue) + 1, -1, np.int64)
    for row, symbol in enumerate(symbols):
        if symbol in ids:
            row_of[ids[symbol]] = row
    rows = row_of[stored.minutes.instrument]
    inside = rows >= 0
    matrix = np.zeros((len(symbols), end - first), np.int64)
    matrix[rows[inside], stored.minutes.minute[inside] - first] = stored.minutes.trades[inside]
    return matrix


def _find_lost(day: Day) -> None:
    """Find minutes with trades that were counted once and are no longer stored, without a gap."""
    lost, catalogue = day.stored.lost, day.stored.catalogue
    rows = {(venue, symbol): row for venue, line in day.timelines.items() for row, symbol in enumerate(line.symbols)}
    for (exchange, market_type, symbol), minute, gone in zip(catalogue.names(lost.instrument), lost.minute.tolist(),
                                                             lost.trades.tolist(), strict=True):
        row = rows.get(((exchange, market_type), symbol))
        if row is None or day.timelines[exchange, market_type].states[row, minute - day.first] == State.GAP:
            continue
        detail = (f"{gone:,} trades that were stored are missing now" if gone > 1 else
                  "a trade that was stored is missing now" if gone else
                  "as many trades as before are stored, but not the same")
        day.flaws.append(Contradiction("lost", exchange, market_type, symbol, minute * MINUTE_NS, (minute + 1) * MINUTE_NS,
                                       detail))
        day.timelines[exchange, market_type].mark([row], minute * MINUTE_NS, (minute + 1) * MINUTE_NS, State.GAP,
                                                  "stored trades are missing now")


@dataclass(slots=True)
class VenueSum:
    """The result of a venue over all days. minutes: of all symbols together."""

    exchange: str
    market_type: str
    proof: str
    minutes: Counter[State] = field(default_factory=Counter)
    trades: int = 0
    symbols: set[str] = field(default_factory=set)
    reasons: Counter[str] = field(default_factory=Counter)  # minutes in gaps by reason
    gap_minutes: Counter[str] = field(default_factory=Counter)  # minutes in gaps by symbol

    def add(self, line: Timeline) -> None:
        """Add a day."""
        self.minutes.update(line.counts())
        self.trades += int(line.trades.sum())
        self.symbols.update(line.symbols)
        gaps = line.states == State.GAP
        for row in np.flatnonzero(gaps.any(axis=1)).tolist():
            self.gap_minutes[line.symbols[row]] += int(gaps[row].sum())
        numbers, counts = np.unique(line.reasons[gaps], return_counts=True)
        self.reasons.update({line.texts[number]: count for number, count in zip(numbers.tolist(), counts.tolist(), strict=True)})

    def as_json(self) -> dict[str, Any]:
        """Return it with stable keys."""
        return {"exchange": self.exchange, "market_type": self.market_type, "proof": self.proof, "symbols": len(self.symbols),
                "minutes": {state.name.lower(): self.minutes[state] for state in State}, "trades": self.trades,
                "worst": [{"symbol": symbol, "gap_minutes": gaps} for symbol, gaps in self.gap_minutes.most_common(WORST)],
                "reasons": dict(self.reasons.most_common(REASONS))}


class Summary:
    """Adds up days."""

    def __init__(self, facts: Mapping[Venue, VenueFacts]) -> None:
        self._facts = facts
        self.venues: dict[Venue, VenueSum] = {}
        self.flaws: list[Contradiction] = []

    def add(self, day: Day) -> None:
        """Add a day."""
        self.flaws += _joined_flaws(day.flaws)
        for venue, line in day.timelines.items():
            proof = self._facts[venue].proof if venue in self._facts else BY_CONNECTION
            self.venues.setdefault(venue, VenueSum(*venue, proof)).add(line)

    @property
    def gap_minutes(self) -> int:
        """Return how many minutes of symbols are in gaps."""
        return sum(found.minutes[State.GAP] for found in self.venues.values())


def _joined_flaws(flaws: Collection[Contradiction]) -> list[Contradiction]:
    """Return the contradictions with adjacent equal ones of a symbol joined."""
    found: list[Contradiction] = []
    for flaw in sorted(flaws, key=lambda flaw: (flaw.kind, flaw.exchange, flaw.market_type, flaw.symbol, flaw.from_ns)):
        last = found[-1] if found else None
        if last and replace(last, from_ns=0, to_ns=0) == replace(flaw, from_ns=0, to_ns=0) and flaw.from_ns <= last.to_ns:
            found[-1] = replace(last, to_ns=max(last.to_ns, flaw.to_ns))
        else:
            found.append(flaw)
    return found


def judged_until_ns(now_ns: int) -> int:
    """Return the end of the last minute that can be judged now."""
    return int(now_ns - SETTLE_S * NS_PER_S) // MINUTE_NS * MINUTE_NS
