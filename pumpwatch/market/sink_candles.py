"""Make candles of minutes that are older than the journal, from the trades of a sink, the newest first.

That is needed where the store was lost or damaged. The mark of the minute since which trades are made candles moves back in
the same transaction as the candles, so that a step that is cut off is simply done again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import Clock
from pumpwatch.market.candle_builder import candles_of
from pumpwatch.market.candle_columns import CandleColumns, Series
from pumpwatch.market.candle_keeper import CandleKeeper
from pumpwatch.market.intervals import MINUTE_NS
from pumpwatch.model import Instrument, TradeBatch

log = logging.getLogger(__name__)

NAMES = 100  # symbols of a question
MOST_CANDLES = 50_000  # of a step
MOST_TRADES = 200_000  # an answer with more makes the next step shorter
LONGEST = 240  # minutes of a step
InThread = Callable[[Callable[[], object]], object]


class TradeReader(Protocol):
    """The part of a sink that is used here."""

    def read(self, names: Sequence[Series], start_ns: int, end_ns: int, catalogue: Catalogue) -> TradeBatch:
        """Return the trades of these instruments in [start_ns, end_ns), in any order."""


class SinkCandles:
    """Reads one sink. run, read: do a piece of work where the store, and where the sink may be used."""

    def __init__(self, sink: TradeReader, keeper: CandleKeeper, clock: Clock, run: InThread, read: InThread) -> None:
        self._sink, self._keeper, self._clock = sink, keeper, clock
        self._run, self._read = run, read
        self._minutes = LONGEST // 4
        self._upto = -1  # the sink has nothing from here until the minute since which candles are made; -1: it was not asked
        self._figures = {"steps": 0, "candles": 0}
        self.done = False  # nothing older is to be made

    def figures(self) -> dict[str, int]:
        """Return steps and candles since the start of the process."""
        return dict(self._figures)

    def work(self, oldest: int, within_s: float) -> None:
        """Go back until the minute `oldest`, or until the sink has nothing any more, for `within_s` at most.

        Raises ServiceUnavailable where the sink does not answer, and StorageError where the store does not take the candles.
        """
        until_s = self._clock.monotonic() + within_s
        while not self.done and self._clock.monotonic() < until_s:
            begins, names = self._wanted()
            end = begins if self._upto < 0 else self._upto
            first = max(oldest, self._keeper.watched_from(), end - self._minutes)
            if first >= end or not names:
                self.done = bool(names)
                return
            self._minutes = min(self._minutes, max(1, MOST_CANDLES // len(names)))
            rows, series = self._step(names, first, end)
            if len(rows):
                self._run(lambda: self._keeper.write_earlier(series, rows, first))  # noqa: B023 it is called at once
                self._figures["steps"] += 1
                self._figures["candles"] += len(rows)
            self._upto = -1 if len(rows) else first

    def _wanted(self) -> tuple[int, list[Series]]:
        """Return the minute since which candles are made, and the symbols that were watched."""
        found: list[tuple[int, list[Series]]] = []
        self._run(lambda: found.append((self._keeper.begins(), self._keeper.watched_names())))
        return found[0]

    def _step(self, names: Sequence[Series], first: int, end: int) -> tuple[CandleColumns, list[Series]]:
        """Return the candles of the minutes [first, end), with the names of their series."""
        catalogue, parts, most = Catalogue(), list[CandleColumns](), 0
        for exchange, market_type, symbol in names:
            catalogue.add_if_new((exchange, market_type), Instrument(symbol=symbol, base="", quote=""))
        for at in range(0, len(names), NAMES):
            found: list[TradeBatch] = []
            wanted = names[at:at + NAMES]
            self._read(lambda: found.append(  # noqa: B023 it is called at once
                self._sink.read(wanted, first * MINUTE_NS, end * MINUTE_NS, catalogue)))  # noqa: B023
            most = max(most, len(found[0]))
            parts.append(candles_of(found[0]))
        if most > MOST_TRADES:
            self._minutes = max(1, self._minutes // 2)
        elif most < MOST_TRADES // 4:
            self._minutes = min(2 * self._minutes, LONGEST)
        rows = CandleColumns.concat(parts)
        numbers, places = np.unique(rows.series, return_inverse=True)
        return replace(rows, series=places.astype(np.int32)), catalogue.names(numbers.tolist())
