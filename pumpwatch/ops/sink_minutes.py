"""Compare a sink with the journal minute by minute: the number of trades, and their checksum.

A `SummingSink` computes the sums itself; the trades of other sinks are read. Minutes with trades that the sink has not
acknowledged yet are left out, and so are minutes that it deletes because of their age.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from pumpwatch.errors import PumpWatchError
from pumpwatch.hookspecs import Sink
from pumpwatch.model import Int64
from pumpwatch.ops.completeness import Chosen, Contradiction, Day
from pumpwatch.ops.minute_states import State
from pumpwatch.ops.stored_minutes import Progress, Store, StoredMinutes, no_progress
from pumpwatch.ops.verify import kept_from_ns
from pumpwatch.sink_abilities import SummingSink
from pumpwatch.store.coverage import Venue
from pumpwatch.store.minutes import MINUTE_NS, Minutes, joined, minutes_of

SLICE = 10  # minutes asked for at a time


@dataclass(slots=True)
class SinkSum:
    """The result for one sink. compared: minutes of symbols with trades. problem: why the rest could not be compared."""

    name: str
    compared: int = 0
    trades: int = 0
    flaws: list[Contradiction] = field(default_factory=list)
    waiting: int = 0  # minutes with trades that it has not acknowledged yet
    problem: str = ""


class SinkMinutes:
    """Compares one sink with the days that are added."""

    def __init__(self, name: str, sink: Sink, store: Store, chosen: Chosen | None = None) -> None:
        self._sink, self._store, self._chosen = sink, store, chosen
        self.found = SinkSum(name)

    def add(self, day: Day, progress: Progress = no_progress) -> None:
        """Compare a day. A sink that does not answer is recorded as a problem, and is not queried again."""
        wanted = np.array([self._chosen is None or self._chosen(*name) for name in
                           day.stored.catalogue.names(range(len(day.stored.catalogue)))], np.bool_)
        for first in range(day.first, day.end, SLICE):
            if self.found.problem:
                return
            progress(first - day.first, day.end - day.first)
            try:
                self._compare(day, first, min(first + SLICE, day.end), wanted)
            except PumpWatchError as error:
                self.found.problem = "; ".join(filter(None, (error.message, error.hint)))

    def _compare(self, day: Day, first: int, end: int, wanted: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> None:
        stored = day.stored
        first = max(first, -(-kept_from_ns(self._sink) // MINUTE_NS))
        if first >= end:
            return
        expected = stored.minutes.between(first, end)
        expected = expected.take(wanted[expected.instrument])
        held = self._sums(stored, first, end)
        held = held.take(wanted[held.instrument]) if len(wanted) >= len(stored.catalogue) else held
        waiting = np.isin(expected.keys(), stored.waiting.get(self.found.name, np.empty(0, np.int64)))
        self.found.waiting += int(waiting.sum())
        held = held.take(~np.isin(held.keys(), expected.keys()[waiting]))
        expected = expected.take(~waiting)
        self.found.compared += len(expected)
        self.found.trades += int(expected.trades.sum())
        self.found.flaws += _differences(self.found.name, day, self._exact(stored, expected, held), held)

    def _exact(self, stored: StoredMinutes, expected: Minutes, held: Minutes) -> Minutes:
        """Count differing minutes again without trades that the journal stores twice: a sink stores them once."""
        keys, values = held.keys(), held.trades
        fewer = [row for row, (key, trades) in enumerate(zip(expected.keys().tolist(), expected.trades.tolist(), strict=True))
                 if _value_at(keys, values, key) < trades]
        if not fewer:
            return expected
        again = [self._store.distinct(int(expected.instrument[row]), int(expected.minute[row])) for row in fewer]
        kept = {row: part for row, part in zip(fewer, again, strict=True) if len(part)}
        rest = np.ones(len(expected), np.bool_)
        rest[list(kept)] = False
        return joined([expected.take(rest), *kept.values()])

    def _sums(self, stored: StoredMinutes, first: int, end: int) -> Minutes:
        start_ns, end_ns = first * MINUTE_NS, end * MINUTE_NS
        if not isinstance(self._sink, SummingSink):
            names = stored.catalogue.names(range(len(stored.catalogue)))
            return minutes_of(self._sink.read(names, start_ns, end_ns, stored.catalogue))
        rows = [row for row in self._sink.minute_sums(start_ns, end_ns)
                if row[2] in stored.catalogue.ids_of((row[0], row[1]))]
        nothing = np.zeros(len(rows), np.int64)
        return joined([Minutes(
            np.array([stored.catalogue.ids_of((row[0], row[1]))[row[2]] for row in rows], np.int32),
            np.array([row[3] for row in rows], np.int64), np.array([row[4] for row in rows], np.int64), nothing, nothing,
            nothing.astype(np.float64), np.array([row[5] for row in rows], np.int64))])


def _differences(name: str, day: Day, expected: Minutes, held: Minutes) -> Iterator[Contradiction]:
    """Yield the differing minutes. More trades in the sink matter only if the journal claims to have all of the minute's."""
    ours, theirs = (dict(zip(part.keys().tolist(), zip(part.trades.tolist(), part.checksum.tolist(), strict=True), strict=True))
                    for part in (expected, held))
    claims = Claims(day)
    where = {key: (instrument, minute) for part in (expected, held) for key, instrument, minute in
             zip(part.keys().tolist(), part.instrument.tolist(), part.minute.tolist(), strict=True)}
    for key in sorted(where):
        (trades, checksum), (found, other) = ours.get(key, (0, 0)), theirs.get(key, (0, 0))
        if trades == found and (checksum == other or not checksum):
            continue
        instrument, minute = where[key]
        exchange, market_type, symbol = day.stored.catalogue.names([instrument])[0]
        if found > trades and not claims.whole((exchange, market_type), symbol, minute):
            continue
        detail = (f"{trades - found:,} of {trades:,} trades are missing in {name}" if found < trades else
                  f"{name} has {found - trades:,} trades that the journal does not have" if found > trades else
                  f"{name} has as many trades, but not the same")
        yield Contradiction("sink", exchange, market_type, symbol, minute * MINUTE_NS, (minute + 1) * MINUTE_NS, detail)


class Claims:
    """The minutes of a day of which the journal claims to have every trade."""

    def __init__(self, day: Day) -> None:
        self._day = day
        self._rows = {(venue, symbol): row for venue, line in day.timelines.items() for row, symbol in enumerate(line.symbols)}

    def whole(self, venue: Venue, symbol: str, minute: int) -> bool:
        """Return whether a minute is complete, filled or quiet."""
        row = self._rows.get((venue, symbol))
        return row is not None and self._day.timelines[venue].states[row, minute - self._day.first] <= State.FILLED


def _value_at(keys: Int64, values: Int64, key: int) -> int:
    at = int(np.searchsorted(keys, key))
    return int(values[at]) if at < len(keys) and int(keys[at]) == key else 0

