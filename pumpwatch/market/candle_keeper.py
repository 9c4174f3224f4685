"""Keep a store's candles up to date: recorded minutes, whether they are complete, and the longer candles made from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.market.aggregate import write_minutes
from pumpwatch.market.candle_columns import CandleColumns, Series
from pumpwatch.market.interfaces import CandleStore
from pumpwatch.market.intervals import MINUTE, MINUTE_NS
from pumpwatch.market.journal_follower import BEGINS, JournalFollower
from pumpwatch.market.minute_verdicts import (
    MinuteEvidence,
    Span,
    Verdicts,
    evidence,
    merged_spans,
    missing_spans,
    verdicts,
    with_verdict,
)
from pumpwatch.model import Instrument
from pumpwatch.ops.completeness import judged_until_ns
from pumpwatch.store.coverage import Venue

JUDGED = "judged"  # the mark of the minute up to which candles are judged
MISSING_ROUNDS = 10  # after so many the missing time is looked for again, though no gap has changed
MOST_ENDED = 60  # minutes: after a longer pause, longer candles are made again as they change
DAY = 1440  # minutes
MOST_DAYS = 8  # earlier days whose records are kept for a round
REACH_S = 86_400  # gaps that end earlier are not looked at again


class CandleKeeper:
    """Updates the store in rounds. Its methods block and belong to one thread."""

    def __init__(self, folder: Path, store: CandleStore, clock: Clock) -> None:
        self._folder, self._store, self._clock = folder, store, clock
        self._follower = JournalFollower(folder, store, clock, self._write_followed)
        self._verdicts = Verdicts(store, self.write)
        self._rounds = 0
        self.missing: dict[Series, list[Span]] = {}  # minutes of the last day whose trades may not be recorded
        self._records = MinuteEvidence()  # of the last day, as it was when this round began
        self._oldest = self._first = self._end = 0  # minutes: of the last day, and what this round judges, [first, end)
        self._past: dict[int, tuple[MinuteEvidence, dict[Series, list[Span]]]] = {}  # the same of earlier days, by day since 1970
        self._figures = {"minutes": 0, "candles": 0, "again": 0, "last_pass_ns": 0}

    def run(self) -> bool:
        """Do a round; return whether it has left minutes for the next one. Raises StorageError: the next round does it again."""
        changed = self._look()
        done = self._follower.run()
        self._figures["minutes"] += done.minutes
        self._figures["candles"] += done.candles
        self._figures["again"] += done.again
        self._judge(changed)
        self._first = max(self._first, self._end)  # earlier minutes that are written before the next round get a verdict at once
        self._figures["last_pass_ns"] = self._clock.now_ns()
        return self._follower.behind

    def write(self, series: Sequence[Series], rows: CandleColumns, marks: dict[str, str] | None) -> None:
        """Store candles of a minute, and make again the longer ones that hold them. Raises StorageError."""
        if not len(rows):
            self._store.write(MINUTE, series, rows, marks)
            return
        missing = [self.missing, *(self._of_day(int(day))[1] for day in np.unique(rows.timestamp // MINUTE_NS // DAY)
                                   if day * DAY < self._oldest)]
        write_minutes(self._store, series, rows, judged_until_ns(self._clock.now_ns()), marks=marks,
                      lost=self._lost(series, missing))

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

    def write_earlier(self, series: Sequence[Series], rows: CandleColumns, begins: int) -> None:
        """Store candles of trades from before the minute since which there are any, which is `begins` from then on."""
        border_ns = (self.begins() - 1) * MINUTE_NS  # longer candles that hold this minute lacked those before it
        border = [(name, border_ns) for name in self._store.series()]
        with self._store.transaction():
            self._store.write(MINUTE, (), CandleColumns.empty(), {BEGINS: str(begins)})
            self._write_followed(series, rows, None)
            names = [name for name, _ in border]
            missing = self.missing if border_ns // MINUTE_NS >= self._oldest else self._of_day(border_ns // MINUTE_NS // DAY)[1]
            write_minutes(self._store, names, CandleColumns.empty(), self._end * MINUTE_NS, again=border,
                          lost=self._lost(names, [missing]))

    def begins(self) -> int:
        """Return the minute since which trades are made candles, 0 where all that were recorded are, or none yet."""
        mark = self._store.mark(BEGINS)
        return int(mark) if mark.isdigit() else 0

    def _lost(self, series: Sequence[Series], missing: Sequence[Mapping[Series, Sequence[Span]]]) -> list[tuple[int, int, int]]:
        """Return the missing minutes in ns, with the places of their series, and the time before the first candles of trades."""
        begins = self.begins()
        before = [(0, begins)] if begins else []
        return [(place, first * MINUTE_NS, end * MINUTE_NS) for place, name in enumerate(series)
                for spans in (before, *(found.get(name, ()) for found in missing)) for first, end in spans]

    def watched_names(self) -> list[Series]:
        """Return every symbol that was ever watched, as of the last round."""
        return sorted({(*venue, symbol) for venue, found in self._records.watched.items() for now in found
                       for symbol in now.symbols})

    def watched_from(self) -> int:
        """Return the minute in which a venue was watched first, as of the last round."""
        return min((found[0].from_ns for found in self._records.watched.values()), default=0) // MINUTE_NS

    def missing_since(self, oldest: int, *, lost_store: bool = False) -> dict[Series, list[Span]]:
        """Return the minutes since `oldest` whose trades may not be recorded, by series.

        lost_store: and those that may be recorded, but of which no trade is kept that candles could be made of.
        """
        found = {name: list(spans) for name, spans in self.missing.items()}
        for day in range(oldest // DAY, -(-self._oldest // DAY)):
            for name, spans in self._of_day(day)[1].items():
                found.setdefault(name, []).extend((first, min(end, self._oldest)) for first, end in spans)
        begins = min(self.begins(), self._end) if lost_store else 0
        if begins > oldest:
            for name in self.watched_names():
                found.setdefault(name, []).append((oldest, begins))
        late = {name: merged_spans([(max(first, oldest), end) for first, end in spans]) for name, spans in found.items()}
        return {name: spans for name, spans in late.items() if spans}

    def _of_day(self, day: int) -> tuple[MinuteEvidence, dict[Series, list[Span]]]:
        """Return the records of a day (since 1970) and its missing minutes."""
        if day not in self._past:
            while len(self._past) >= MOST_DAYS:
                self._past.pop(next(iter(self._past)))
            first, end = day * DAY, min((day + 1) * DAY, self._end)
            records = evidence(self._folder, first * MINUTE_NS, end * MINUTE_NS)
            self._past[day] = records, missing_in(records, first, end)
        return self._past[day]

    def instruments(self) -> dict[Series, Instrument]:
        """Return every instrument that the journal names. Reads its files where no round has done so yet."""
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
            lost = self._lost(series, [self.missing])
            write_minutes(self._store, series, CandleColumns.empty(), end * MINUTE_NS,
                          was_over_ns=max(first, end - MOST_ENDED) * MINUTE_NS if judged else None,
                          marks={JUDGED: str(end)}, lost=lost)

    def figures(self) -> dict[str, int]:
        """Return counts since the start of the process, and when the last round ended (ns, UTC)."""
        return {**self._figures, **self._follower.figures()}


def missing_in(records: MinuteEvidence, first: int, end: int) -> dict[Series, list[Span]]:
    """Return the minutes in [first, end) whose trades may be missing, of every symbol that is watched now."""
    found: dict[Series, list[Span]] = {}
    for venue, watched in records.watched.items():
        symbols = sorted(watched[-1].symbols)
        for symbol, spans in missing_spans(records.timeline(venue, symbols, first, end)).items():
            found[*venue, symbol] = spans
    return found
