"""Keep a store's candles: those of the recorded minutes, whether they are complete, and the longer ones that they add up to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.market.aggregate import write_minutes
from pumpwatch.market.candle_columns import CandleColumns, Series
from pumpwatch.market.interfaces import CandleStore
from pumpwatch.market.intervals import MINUTE, MINUTE_NS
from pumpwatch.market.journal_follower import JournalFollower
from pumpwatch.market.minute_verdicts import Evidence, Span, Verdicts, evidence, missing_spans, verdicts, with_verdict
from pumpwatch.model import Instrument
from pumpwatch.ops.completeness import judged_until_ns
from pumpwatch.store.coverage import Venue

JUDGED = "judged"  # the mark of the minute up to which candles are judged
MISSING_ROUNDS = 10  # after so many the missing time is looked for again, though no gap has changed
MOST_ENDED = 60  # minutes: after a longer pause, longer candles are made again as they change
DAY = 1440  # minutes
REACH_S = 86_400  # gaps that end earlier are not looked at again


class CandleKeeper:
    """Does one round after the other. Its methods block and belong to one thread."""

    def __init__(self, folder: Path, store: CandleStore, clock: Clock) -> None:
        self._folder, self._store, self._clock = folder, store, clock
        self._follower = JournalFollower(folder, store, clock, self._write_followed)
        self._verdicts = Verdicts(store, self.write)
        self._rounds = 0
        self.missing: dict[Series, list[Span]] = {}  # minutes of the last day whose trades may not be recorded
        self._records = Evidence()  # of the last day, as it was when this round began
        self._oldest = self._first = self._end = 0  # minutes: of the last day, and what this round judges, [first, end)
        self._past: dict[int, tuple[Evidence, dict[Series, list[Span]]]] = {}  # the same of an earlier day, by its first minute
        self._figures = {"minutes": 0, "candles": 0, "again": 0, "last_pass_ns": 0}

    def run(self) -> bool:
        """Do a round; return whether it has left minutes for the next one. Raises StorageError: the next round does it again."""
        changed = self._look()
        done = self._follower.run()
        self._figures["minutes"] += done.minutes
        self._figures["candles"] += done.candles
        self._figures["again"] += done.again
        self._judge(changed)
        self._figures["last_pass_ns"] = self._clock.now_ns()
        return self._follower.behind

    def write(self, series: Sequence[Series], rows: CandleColumns, marks: dict[str, str] | None) -> None:
        """Store candles of a minute, and make again the longer ones that hold them. Raises StorageError."""
        if not len(rows):
            self._store.write(MINUTE, series, rows, marks)
            return
        missing = [self.missing, *(self._of_day(int(day))[1] for day in np.unique(rows.timestamp // MINUTE_NS // DAY)
                                   if day * DAY < self._oldest)]
        lost = [(place, first * MINUTE_NS, end * MINUTE_NS) for place, name in enumerate(series)
                for found in missing for first, end in found.get(name, ())]
        write_minutes(self._store, series, rows, judged_until_ns(self._clock.now_ns()), marks=marks, lost=lost)

    def _write_followed(self, series: Sequence[Series], rows: CandleColumns, marks: dict[str, str] | None) -> None:
        """Store candles of a minute as the follower makes them: one that was judged before has its verdict at once."""
        minutes = rows.timestamp // MINUTE_NS
        complete = rows.complete.copy()
        for day in np.unique(minutes[minutes < self._first] // DAY).tolist():
            for recent in (True, False):
                at = np.flatnonzero((minutes < self._first) & (minutes // DAY == day) & ((minutes >= self._oldest) == recent))
                if len(at):
                    complete[at] = verdicts(self._records if recent else self._of_day(day)[0], series, rows.take(at))
        rows = with_verdict(rows, complete)
        self.write(series, rows, marks)

    def _of_day(self, day: int) -> tuple[Evidence, dict[Series, list[Span]]]:
        """Return the records of a day (since 1970) and its missing minutes."""
        if day not in self._past:
            self._past.clear()
            first, end = day * DAY, min((day + 1) * DAY, self._end)
            records = evidence(self._folder, first * MINUTE_NS, end * MINUTE_NS)
            self._past[day] = records, missing_in(records, first, end)
        return self._past[day]

    def instruments(self) -> dict[Series, Instrument]:
        """Return every instrument that the journal has named so far."""
        return self._follower.instruments()

    def _look(self) -> dict[Venue, list[Span]]:
        """Read the records that this round goes by; return the minutes of gaps that have changed."""
        now_ns, mark = self._clock.now_ns(), self._store.marks().get(JUDGED, "")
        self._past.clear()
        self._end = judged_until_ns(now_ns) // MINUTE_NS
        self._oldest = self._end - REACH_S // 60
        self._first = max(int(mark), self._oldest) if mark.isdigit() else self._oldest
        self._records = evidence(self._folder, self._oldest * MINUTE_NS, now_ns + NS_PER_S)
        changed = self._verdicts.changed_spans(self._records)
        if changed or not self._rounds % MISSING_ROUNDS:
            self.missing = missing_in(self._records, self._oldest, self._end)
        self._rounds += 1
        return changed

    def _judge(self, changed: Mapping[Venue, Sequence[Span]]) -> None:
        """Judge the minutes that can be judged since the last time, and those of gaps that have changed."""
        records, first, end = self._records, self._first, self._end
        back = self._verdicts.judge(records, first, end)
        for venue, spans in changed.items():
            for begin, until in spans:
                back += self._verdicts.judge(records, max(begin, self._oldest), min(until, first), [venue])
        self._follower.make_again(back)
        for (exchange, market_type, _), minute in back:
            self._verdicts.judge(records, minute, minute + 1, [(exchange, market_type)])
        if end > first:  # longer candles that are over by now are made again, though their last minutes had no trade
            series, judged = self._store.series(), self._store.marks().get(JUDGED)
            lost = [(place, begin * MINUTE_NS, until * MINUTE_NS) for place, name in enumerate(series)
                    for begin, until in self.missing.get(name, ())]
            write_minutes(self._store, series, CandleColumns.empty(), end * MINUTE_NS,
                          was_over_ns=max(first, end - MOST_ENDED) * MINUTE_NS if judged else None,
                          marks={JUDGED: str(end)}, lost=lost)

    def figures(self) -> dict[str, int]:
        """Return counts since the start of the process, and when the last round ended (ns, UTC)."""
        return {**self._figures, **self._follower.figures()}


def missing_in(records: Evidence, first: int, end: int) -> dict[Series, list[Span]]:
    """Return the minutes in [first, end) whose trades may be missing, of every symbol that is watched now."""
    found: dict[Series, list[Span]] = {}
    for venue, watched in records.watched.items():
        symbols = sorted(watched[-1].symbols)
        for symbol, spans in missing_spans(records.timeline(venue, symbols, first, end)).items():
            found[*venue, symbol] = spans
    return found
