"""Keep a store's candles: those of the recorded minutes, whether they are complete, and the longer ones that they add up to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.market.aggregate import write_minutes
from pumpwatch.market.candle_columns import CandleColumns, Series
from pumpwatch.market.interfaces import CandleStore
from pumpwatch.market.intervals import MINUTE, MINUTE_NS
from pumpwatch.market.journal_follower import JournalFollower
from pumpwatch.market.minute_verdicts import Evidence, Span, Verdicts, evidence, missing_spans
from pumpwatch.model import Instrument
from pumpwatch.ops.completeness import judged_until_ns

JUDGED = "judged"  # the mark of the minute up to which candles are judged
MISSING_ROUNDS = 10  # after so many the missing time is looked for again, though no gap has changed
MOST_ENDED = 60  # minutes: after a longer pause, longer candles are made again as they change
REACH_S = 86_400  # gaps that end earlier are not looked at again


class CandleKeeper:
    """Does one round after the other. Its methods block and belong to one thread."""

    def __init__(self, folder: Path, store: CandleStore, clock: Clock) -> None:
        self._folder, self._store, self._clock = folder, store, clock
        self._follower = JournalFollower(folder, store, clock, self.write)
        self._verdicts = Verdicts(store, self.write)
        self._rounds = 0
        self.missing: dict[Series, list[Span]] = {}  # minutes of the last day whose trades may not be recorded
        self._figures = {"minutes": 0, "candles": 0, "again": 0, "last_pass_ns": 0}

    def run(self) -> None:
        """Do a round. Raises StorageError; the next round does what is missing."""
        done = self._follower.run()
        self._figures["minutes"] += done.minutes
        self._figures["candles"] += done.candles
        self._figures["again"] += done.again
        self._judge()
        self._figures["last_pass_ns"] = self._clock.now_ns()

    def write(self, series: Sequence[Series], rows: CandleColumns, marks: dict[str, str] | None) -> None:
        """Store candles of a minute, and make again the longer ones that hold them. Raises StorageError."""
        if not len(rows):
            self._store.write(MINUTE, series, rows, marks)
            return
        write_minutes(self._store, series, rows, judged_until_ns(self._clock.now_ns()), marks=marks, lost=self._lost(series))

    def _lost(self, series: Sequence[Series]) -> list[tuple[int, int, int]]:
        return [(place, first * MINUTE_NS, end * MINUTE_NS) for place, name in enumerate(series)
                for first, end in self.missing.get(name, ())]

    def instruments(self) -> dict[Series, Instrument]:
        """Return every instrument that the journal has named so far."""
        return self._follower.instruments()

    def _judge(self) -> None:
        """Judge the minutes that can be judged since the last time, and those of gaps that have changed."""
        end = judged_until_ns(self._clock.now_ns()) // MINUTE_NS
        oldest = end - REACH_S // 60
        mark = self._store.marks().get(JUDGED, "")
        first = max(int(mark), oldest) if mark.isdigit() else oldest
        records = evidence(self._folder, oldest * MINUTE_NS, self._clock.now_ns() + NS_PER_S)
        changed = self._verdicts.changed_spans(records)
        if changed or not self._rounds % MISSING_ROUNDS:
            self.missing = missing_in(records, oldest, end)
        self._rounds += 1
        back = self._verdicts.judge(records, first, end)
        for venue, spans in changed.items():
            for begin, until in spans:
                back += self._verdicts.judge(records, max(begin, oldest), min(until, first), [venue])
        self._follower.make_again(back)
        for (exchange, market_type, _), minute in back:
            self._verdicts.judge(records, minute, minute + 1, [(exchange, market_type)])
        if end > first:  # longer candles that are over by now are made again, though their last minutes had no trade
            series = self._store.series()
            write_minutes(self._store, series, CandleColumns.empty(), end * MINUTE_NS,
                          was_over_ns=max(first, end - MOST_ENDED) * MINUTE_NS if mark else None,
                          marks={JUDGED: str(end)}, lost=self._lost(series))

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
