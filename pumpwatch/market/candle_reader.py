"""Read candles from the store, and compute those of minutes that the store does not have from trades.

Without a store, or while no process fills it, all candles are computed from the stored trades.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.errors import PumpWatchError, UsageError
from pumpwatch.market.aggregate import aggregate
from pumpwatch.market.answers import CandleAnswer
from pumpwatch.market.candle_builder import candles_of
from pumpwatch.market.candle_columns import CandleColumns, Series
from pumpwatch.market.interfaces import CandleStore
from pumpwatch.market.intervals import INTERVALS_NS, MINUTE, MINUTE_NS, interval_ns
from pumpwatch.market.known_minutes import KnownMinutes, Records, outside
from pumpwatch.market.trade_source import TradeSource
from pumpwatch.market.venue_asker import VenueAsker
from pumpwatch.model import TradeBatch

MOST_CANDLES = 1_000_000  # of one answer, computed from its time and its number of series
CHUNK_NS = 900 * NS_PER_S  # trades are read in parts of this length, to limit memory
MOST_BUILT_NS = 2 * 86_400 * NS_PER_S  # at most the last part of a question of this length is computed from trades


@dataclass(slots=True)
class _Failures:
    """The problems of an answer. unread: the store could not be read."""

    problems: list[str]
    unread: bool = False


class CandleReader:
    """Reads candles of instruments, by their ids in the catalogue of `trades`. Blocks while it reads.

    records: reads a collector's records of gaps and watched symbols; without it, no candle computed from trades is complete.
    """

    def __init__(self, trades: TradeSource, store: CandleStore | None, clock: Clock, asker: VenueAsker | None = None,
                 records: Records | None = None, store_problem: str = "") -> None:
        self.store_problem = store_problem  # why an existing store is not read; part of every answer's problems
        self.trades, self.store, self._clock, self._asker = trades, store, clock, asker
        self.known = KnownMinutes(records, store, clock)

    def read(self, ids: Sequence[int], interval: str, from_ns: int, to_ns: int, limit: int | None = None, *,
             ask: bool = False) -> CandleAnswer:
        """Return the candles that overlap [from_ns, to_ns), the last `limit` of each series.

        ask: fetch minutes before the first known one from the venues. Raises UsageError for an unknown interval, a range that
        ends before it starts, or more than MOST_CANDLES.
        """
        step = interval_ns(interval)
        if from_ns > to_ns:
            raise UsageError("from is after to", "give the earlier moment as from")
        most = -(-(to_ns - from_ns) // step) * max(1, len(ids))
        if most > MOST_CANDLES:
            longest = next((name for name in INTERVALS_NS if most * step // INTERVALS_NS[name] <= MOST_CANDLES), "")
            raise UsageError(f"up to {most:,} candles of {interval} in this time, more than {MOST_CANDLES:,}",
                             f"ask for a shorter time{f', or for the interval {longest}' if longest else ''}")
        problems = [self.store_problem] if self.store_problem else []
        from_ns = from_ns // step * step
        parts, gone, names = [], list[tuple[Series, int, int]](), self.trades.catalogue.names(ids)
        for place, (number, name) in enumerate(zip(ids, names, strict=True)):
            failures = _Failures(problems)
            rows = self._of(number, name, interval, from_ns, to_ns, failures, ask=ask)
            if limit is not None:
                rows = rows.take(slice(max(0, len(rows) - limit), None))
            since_ns = int(rows.timestamp[0]) if len(rows) == limit else from_ns
            unknown = self.known.unknown(name, since_ns, to_ns, self._built_from_ns(to_ns), problems,
                                         unread=failures.unread) if self.known.judges else []
            if interval != MINUTE:
                rows = _without_complete(rows, unknown, step)
            gone += [(name, *span) for span in outside(unknown, rows, step)]
            parts.append(_numbered(rows, place))
        problems += self.trades.problems()
        return CandleAnswer(interval, names, CandleColumns.concat(parts), list(dict.fromkeys(problems)), gone)

    def minutes(self, number: int, from_ns: int, to_ns: int, problems: list[str], *, ask: bool = False) -> CandleColumns:
        """Return an instrument's minute candles in [from_ns, to_ns), whole minutes: stored ones, then those of trades."""
        name = self.trades.catalogue.names([number])[0]
        return self._minutes(number, name, from_ns, to_ns, _Failures(problems), ask=ask)

    def _of(self, number: int, name: Series, interval: str, from_ns: int, to_ns: int, failures: _Failures, *,
            ask: bool) -> CandleColumns:
        if interval == MINUTE:
            return self._minutes(number, name, from_ns, to_ns, failures, ask=ask)
        step, now_ns = interval_ns(interval), self._clock.now_ns()
        stored = self._stored(name, interval, from_ns, to_ns, failures)
        start_ns = int(stored.timestamp[-1]) if len(stored) else from_ns  # the last stored one may not be over
        end_ns = -(-to_ns // step) * step
        minutes = self._minutes(number, name, start_ns, end_ns, failures, ask=ask and not len(stored))
        made = aggregate(minutes, interval, now_ns)
        kept = stored.take(stored.timestamp < made.timestamp[0]) if len(made) else stored
        return CandleColumns.concat([kept, made])

    def _minutes(self, number: int, name: Series, from_ns: int, to_ns: int, failures: _Failures, *, ask: bool) -> CandleColumns:
        stored = self._stored(name, MINUTE, from_ns, to_ns, failures)
        made_until_ns = 0 if failures.unread else self.known.made_until_ns()
        rest_ns = max(from_ns, made_until_ns or (int(stored.timestamp[-1]) + MINUTE_NS if len(stored) else from_ns))
        made = CandleColumns.concat([_numbered(candles_of(batch), 0) for batch in self._chunks(number, rest_ns, to_ns)])
        made = made.take(~np.isin(made.timestamp, stored.timestamp))  # the store may have later minutes from a venue
        unread = self.trades.problems()
        failures.problems += unread
        if not unread:
            made = self.known.judged(name, made, self.trades.whole_from_ns(), failures.problems)
        known = CandleColumns.concat([part for part in (stored, made) if len(part)])
        known = known.take(np.argsort(known.timestamp, kind="stable"))
        first_ns = int(known.timestamp[0]) if len(known) else to_ns
        if not ask or self._asker is None or first_ns <= from_ns:
            return known
        try:
            exchange, market_type, _ = name
            older = self._asker.minutes(f"{exchange}.{market_type}", self.trades.catalogue.instruments[number], from_ns, first_ns)
        except PumpWatchError as error:
            failures.problems.append(error.message)
            return known
        return CandleColumns.concat([older, known])

    def _stored(self, name: Series, interval: str, from_ns: int, to_ns: int, failures: _Failures) -> CandleColumns:
        if self.store is None:
            return CandleColumns.empty()
        try:
            return self.store.read(name, interval, from_ns, to_ns)
        except PumpWatchError as error:
            failures.problems.append(error.message)
            failures.unread = True
            return CandleColumns.empty()

    def _built_from_ns(self, to_ns: int) -> int:
        """Return the time from which the minutes until `to_ns` are computed from all recorded trades."""
        to_ns = min(-(-to_ns // MINUTE_NS) * MINUTE_NS, self._clock.now_ns() + MINUTE_NS)
        return max(self.trades.whole_from_ns(), to_ns - MOST_BUILT_NS)

    def _chunks(self, number: int, from_ns: int, to_ns: int) -> Iterator[TradeBatch]:
        """Yield the trades of whole minutes in consecutive parts."""
        now_ns = self._clock.now_ns()
        to_ns = min(-(-to_ns // MINUTE_NS) * MINUTE_NS, now_ns + MINUTE_NS)
        if from_ns >= to_ns:
            return
        from_ns = max(from_ns, self.trades.begins_ns(), to_ns - MOST_BUILT_NS) // MINUTE_NS * MINUTE_NS
        while from_ns < to_ns:
            end_ns = min(to_ns, from_ns // CHUNK_NS * CHUNK_NS + CHUNK_NS)
            yield self.trades.between([number], from_ns, end_ns)
            from_ns = end_ns


def _without_complete(rows: CandleColumns, spans: Sequence[tuple[int, int]], step_ns: int) -> CandleColumns:
    """Return the candles, with complete=False for those that overlap a span."""
    complete = rows.complete.copy()
    for from_ns, to_ns in spans:
        complete &= (rows.timestamp >= to_ns) | (rows.timestamp + step_ns <= from_ns)
    return replace(rows, complete=complete)


def _numbered(rows: CandleColumns, place: int) -> CandleColumns:
    """Return the rows of one series with its place as `series`."""
    return CandleColumns(np.full(len(rows), place, np.int32), *rows.columns()[1:])
