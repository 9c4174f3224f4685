"""Judge whether all trades of the requested minutes are known: by gaps, by watched symbols, and by the trades still stored.

A minute is judged two minutes after its end, because a dead connection is noticed late.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from pumpwatch.clock import Clock
from pumpwatch.errors import PumpWatchError
from pumpwatch.market.candle_columns import CandleColumns, Series
from pumpwatch.market.candle_history import asked_spans, mark_of, without
from pumpwatch.market.interfaces import CandleStore
from pumpwatch.market.intervals import MINUTE_NS
from pumpwatch.market.journal_candles import JournalPosition
from pumpwatch.market.journal_follower import BEGINS, MARK
from pumpwatch.market.minute_verdicts import MinuteEvidence, Span, merged_spans, missing_spans, verdicts
from pumpwatch.ops.completeness import judged_until_ns

RECORDS_S = 2.0  # the records are read again after so long
MOST_MINUTES = 45 * 1440  # that are looked at, the end of a question
Records = Callable[[int, int], MinuteEvidence]  # that speak of [start_ns, end_ns); raises StorageError


class KnownMinutes:
    """Judges by the records of a collector. records: None without any, so that nothing is judged."""

    def __init__(self, records: Records | None, store: CandleStore | None, clock: Clock) -> None:
        self._records, self._store, self._clock = records, store, clock
        self._held: tuple[float, int, int, MinuteEvidence] | None = None  # when they were read (monotonic), [start_ns, end_ns)

    @property
    def judges(self) -> bool:
        """Return whether there are records to judge by."""
        return self._records is not None

    def judged_until_ns(self) -> int:
        """Return the time until which minutes can be judged."""
        return judged_until_ns(self._clock.now_ns())

    def judged(self, name: Series, rows: CandleColumns, whole_from_ns: int, problems: list[str]) -> CandleColumns:
        """Return minutes of trades with their verdicts; those before `whole_from_ns` are not complete."""
        if self._records is None or not len(rows):
            return rows
        records = self._of(int(rows.timestamp[0]), int(rows.timestamp[-1]) + MINUTE_NS, problems)
        if records is None:
            return rows
        complete = verdicts(records, [name], replace(rows, series=np.zeros(len(rows), np.int32)))
        until_ns = min(self.judged_until_ns(), records.until_ns)
        complete &= (rows.timestamp >= whole_from_ns) & (rows.timestamp + MINUTE_NS <= until_ns)
        return replace(rows, complete=complete)

    def made_until_ns(self) -> int:
        """Return the time before which the store has every candle that trades gave, 0 where it does not say."""
        return self._made()[1]

    def _made(self) -> tuple[int, int]:
        """Return the time [from, to) whose trades were made candles of the store; the same moment twice for none."""
        try:
            marks = [self._store.mark(name) if self._store is not None else "" for name in (BEGINS, MARK)]
        except PumpWatchError:
            return 0, 0  # reading the candles reports the problem
        at = JournalPosition.of(marks[1])
        return (int(marks[0]) * MINUTE_NS if marks[0].isdigit() else 0, at.minute * MINUTE_NS) if at else (0, 0)

    def unknown(self, name: Series, from_ns: int, to_ns: int, trades_from_ns: int, problems: list[str], *,
                unread: bool = False) -> list[tuple[int, int]]:
        """Return the parts of [from_ns, to_ns), in ns and oldest first, whose trades may not be known.

        trades_from_ns: every recorded trade since then was looked at. Minutes that the venue was asked for are known. unread: the
        store's candles could not be read.
        """
        first, end = from_ns // MINUTE_NS, min(-(-to_ns // MINUTE_NS), self._clock.now_ns() // MINUTE_NS)
        if self._records is None or first >= end:
            return []
        made_from, made_to = (at // MINUTE_NS for at in ((0, 0) if unread else self._made()))
        held = [(made_from, made_to), (-(-trades_from_ns // MINUTE_NS), max(end, first))]
        gone = without([(first, end)], [span for span in held if span[0] < span[1]])
        start = max(first, end - MOST_MINUTES)
        records = self._of(start * MINUTE_NS, end * MINUTE_NS, problems)
        if records is not None:
            gone += missing_spans(records.timeline(name[:2], [name[2]], start, end)).get(name[2], [])
            gone += [(max(first, records.until_ns // MINUTE_NS), end)]  # merged_spans leaves it out where it is empty
        spans: list[Span] = without(merged_spans(gone), [] if unread else self._asked(name))
        return [(max(begin * MINUTE_NS, from_ns), min(until * MINUTE_NS, to_ns)) for begin, until in spans]

    def _asked(self, name: Series) -> list[Span]:
        try:
            return asked_spans(self._store.mark(mark_of(name))) if self._store is not None else []
        except PumpWatchError:
            return []

    def _of(self, start_ns: int, end_ns: int, problems: list[str]) -> MinuteEvidence | None:
        """Return the records of a time, None where they cannot be read."""
        held, now_s = self._held, self._clock.monotonic()
        if held is not None and now_s - held[0] < RECORDS_S and held[1] <= start_ns and end_ns <= held[2]:
            return held[3]
        assert self._records is not None
        now_ns = self._clock.now_ns()
        start_ns, end_ns = min(start_ns, now_ns - 86_400 * 10**9), max(end_ns, now_ns + MINUTE_NS)
        try:
            records = self._records(start_ns, end_ns)
        except PumpWatchError as error:
            problems.append(error.message)
            return None
        self._held = now_s, start_ns, end_ns, records
        return records


def outside(spans: list[tuple[int, int]], rows: CandleColumns, step_ns: int) -> list[tuple[int, int]]:
    """Return the parts of spans, in ns, that are in none of the candles of one series."""
    if not spans or not len(rows):
        return spans
    edges = np.flatnonzero(np.append(True, np.diff(rows.timestamp) != step_ns))
    lasts = np.append(edges[1:], len(rows)) - 1
    taken = zip(rows.timestamp[edges].tolist(), (rows.timestamp[lasts] + step_ns).tolist(), strict=True)
    return without(spans, list(taken))
