"""Keep a store's candles: those of the recorded minutes, whether they are complete, and the longer ones that they add up to."""

from __future__ import annotations

from pathlib import Path

from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.market.candle_columns import CandleColumns
from pumpwatch.market.interfaces import CandleStore
from pumpwatch.market.intervals import MINUTE, MINUTE_NS
from pumpwatch.market.journal_follower import JournalFollower
from pumpwatch.market.minute_verdicts import Verdicts, evidence
from pumpwatch.ops.completeness import judged_until_ns

JUDGED = "judged"  # the mark of the minute up to which candles are judged
REACH_S = 86_400  # gaps that end earlier are not looked at again


class CandleKeeper:
    """Does one round after the other. Its methods block and belong to one thread."""

    def __init__(self, folder: Path, store: CandleStore, clock: Clock) -> None:
        self._folder, self._store, self._clock = folder, store, clock
        self._follower = JournalFollower(folder, store, clock)
        self._verdicts = Verdicts(store)
        self._figures = {"minutes": 0, "candles": 0, "again": 0, "last_pass_ns": 0}

    def run(self) -> None:
        """Do a round. Raises StorageError; the next round does what is missing."""
        done = self._follower.run()
        self._figures["minutes"] += done.minutes
        self._figures["candles"] += done.candles
        self._figures["again"] += done.again
        self._judge()
        self._figures["last_pass_ns"] = self._clock.now_ns()

    def _judge(self) -> None:
        """Judge the minutes that can be judged since the last time, and those of gaps that have changed."""
        end = judged_until_ns(self._clock.now_ns()) // MINUTE_NS
        oldest = end - REACH_S // 60
        mark = self._store.marks().get(JUDGED, "")
        first = max(int(mark), oldest) if mark.isdigit() else oldest
        records = evidence(self._folder, oldest * MINUTE_NS, self._clock.now_ns() + NS_PER_S)
        back = self._verdicts.judge(records, first, end)
        for venue, spans in self._verdicts.changed_spans(records).items():
            for begin, until in spans:
                back += self._verdicts.judge(records, max(begin, oldest), min(until, first), [venue])
        self._follower.make_again(back)
        for (exchange, market_type, _), minute in back:
            self._verdicts.judge(records, minute, minute + 1, [(exchange, market_type)])
        if end > first:
            self._store.write(MINUTE, (), CandleColumns.empty(), {JUDGED: str(end)})

    def figures(self) -> dict[str, int]:
        """Return counts since the start of the process, and when the last round ended (ns, UTC)."""
        return {**self._figures, **self._follower.figures()}
