"""The trades that a venue's REST API returns: its history, without the newest seconds, or distorted by a fault.

form       effect of the fault `history` on an answer
hole       rows in the middle are missing
repeat     the first answer about the symbol is repeated for every request
back       every request gets the oldest rows that are kept
other      the rows are those of another symbol
none       the answer has no rows
conflict   every second row has another price under the same id, and minutes have other volumes
future     a minute follows that has not begun yet
yesterday  a ticker is a day and an hour old
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from pumpwatch.clock import NS_PER_S
from pumpwatch.sim.book import MadeBook
from pumpwatch.sim.dialect import MinuteBar
from pumpwatch.sim.ground_truth import TruthWriter
from pumpwatch.sim.history import TradeHistory, minute_bars, whole_minutes
from pumpwatch.sim.rows import Rows
from pumpwatch.sim.ticker import DAY_NS, MadeTicker

FORMS = ("hole", "repeat", "back", "other", "none", "conflict", "future", "yesterday")
ALL = 2**31
HOUR_NS = 3600 * NS_PER_S


class HistoryFault:
    """A distortion of the next `count` answers, or of all of them until a moment (monotonic seconds; 0: by count)."""

    def __init__(self, form: str, count: int, until: float, symbol: str = "") -> None:
        self.form, self.count, self.until, self.symbol = form, count, until, symbol
        self.first: dict[int, Rows] = {}  # by symbol: the first answer, which `repeat` gives again

    def use_up(self, now: float, symbol: str) -> bool:
        """Return whether the fault distorts an answer about a symbol now; with a count, one less is left."""
        if self.symbol not in ("", symbol) or (now >= self.until if self.until else self.count <= 0):
            return False
        self.count -= 1
        return True


class RestHistory:
    """A venue's history (see dialect.History) as one REST request sees it.

    now_ns: the time of the request; lag_ns: how old a trade must be. fault: the active fault, or None. Each distorted answer is
    an event `history` of the ground truth, with the ids missing in a hole.
    """

    def __init__(self, history: TradeHistory, now_ns: int, lag_ns: int, *, fault: HistoryFault | None, now: float,
                 truth: TruthWriter, venue: str) -> None:
        self.table = history.table
        self._history, self._now_ns, self._newest_ns = history, now_ns, now_ns - lag_ns
        self._fault, self._now, self._truth, self._venue = fault, now, truth, venue

    def recent(self, symbol: int, limit: int) -> Rows:
        """Return the newest rows of a symbol, oldest first."""
        return self._answer(symbol, limit, lambda number: self._history.last_between(number, 0, self._newest_ns, limit))

    def from_id(self, symbol: int, first_id: int, limit: int) -> Rows:
        """Return rows with ids from first_id on, ascending."""
        return self._answer(symbol, limit, lambda number: self._old(self._history.from_id(number, first_id, limit)))

    def between(self, symbol: int, start_ns: int, end_ns: int, limit: int) -> Rows:
        """Return the first rows with start_ns <= timestamp <= end_ns, ascending."""
        end_ns = min(end_ns, self._newest_ns)
        return self._answer(symbol, limit, lambda number: self._history.between(number, start_ns, end_ns, limit))

    def last_between(self, symbol: int, start_ns: int, end_ns: int, limit: int) -> Rows:
        """Return the last rows with start_ns <= timestamp <= end_ns, ascending."""
        end_ns = min(end_ns, self._newest_ns)
        return self._answer(symbol, limit, lambda number: self._history.last_between(number, start_ns, end_ns, limit))

    def last_ids(self, symbol: int, first_id: int, last_id: int, limit: int) -> Rows:
        """Return the last rows with first_id <= id <= last_id, ascending."""
        def find(number: int) -> Rows:
            newest = self._history.last_between(number, 0, self._newest_ns, 1)
            known = int(newest.trade_id[0]) if len(newest) else -1
            return self._history.last_ids(number, first_id, min(last_id, known), limit)

        return self._answer(symbol, limit, find)

    def minutes(self, symbol: int, start_ns: int, end_ns: int) -> list[MinuteBar]:
        """Return the minutes with trades that begin in [start_ns, end_ns), ascending; rows outside the market do not count."""
        start_ns, end_ns = whole_minutes(start_ns, end_ns)

        def find(number: int) -> Rows:
            return self._history.between(number, start_ns, min(end_ns - 1, self._newest_ns), ALL)

        form = self._form(symbol)
        if form == "future":
            bars = minute_bars(find(symbol))
            return [*bars, dataclasses.replace(bars[-1], start_ns=bars[-1].start_ns + HOUR_NS)] if bars else []
        rows = self._distorted(form, symbol, ALL, find)
        bars = minute_bars(rows)
        return [dataclasses.replace(bar, quantity=2 * bar.quantity) for bar in bars] if form == "conflict" else bars

    def book(self, symbol: int, now_ns: int) -> MadeBook:
        """Return the order book of a symbol: without levels for the fault `none`, another symbol's for `other`.

        It is never older than the newest trade, whatever the lag of the history. Other faults do not change it.
        """
        form = self._snapshot_form(symbol, "none")
        made = self._history.book((symbol + 1) % len(self.table) if form == "other" else symbol, now_ns)
        return dataclasses.replace(made, bids=(), asks=()) if form == "none" else made

    def ticker(self, symbol: int, now_ns: int) -> MadeTicker:
        """Return the ticker of a symbol: another symbol's for the fault `other`, an old one for `yesterday`.

        It is never older than the newest trade, whatever the lag of the history. Other faults do not change it.
        """
        form = self._snapshot_form(symbol, "yesterday")
        made = self._history.ticker((symbol + 1) % len(self.table) if form == "other" else symbol, now_ns)
        return dataclasses.replace(made, at_ns=made.at_ns - DAY_NS - HOUR_NS) if form == "yesterday" else made

    def _old(self, rows: Rows) -> Rows:
        return rows.take(rows.timestamp <= self._newest_ns)

    def _answer(self, symbol: int, limit: int, find: Callable[[int], Rows]) -> Rows:
        return self._distorted(self._form(symbol), symbol, limit, find)

    def _snapshot_form(self, symbol: int, own: str) -> str:
        """Return how a book or ticker is distorted, `other` or `own`, and record it; "" if it is not."""
        if self._fault is None or self._fault.form not in ("other", own) or not (form := self._form(symbol)):
            return ""
        self._truth.event("history", venue=self._venue, form=form, symbol=self.table.symbols[symbol], rows=0, missing=[])
        return form

    def _form(self, symbol: int) -> str:
        """Return how the answer to this request is distorted; "" if it is not."""
        fault = self._fault
        return fault.form if fault is not None and fault.use_up(self._now, self.table.symbols[symbol]) else ""

    def _distorted(self, form: str, symbol: int, limit: int, find: Callable[[int], Rows]) -> Rows:
        rows = find((symbol + 1) % len(self.table) if form == "other" else symbol)
        if not form:
            return rows
        taken: list[int] = []
        if form == "hole":
            middle = np.arange(len(rows)) * 3 // max(len(rows), 1) == 1
            taken = rows.trade_id[middle].tolist()
            rows = rows.take(~middle)
        elif form == "repeat" and self._fault is not None:
            rows = self._fault.first.setdefault(symbol, rows)
        elif form == "back":
            rows = self._history.between(symbol, 0, self._newest_ns, limit)
        elif form == "none":
            rows = Rows.empty(rows.table)
        elif form == "conflict":
            rows = dataclasses.replace(rows, price=rows.price + np.arange(len(rows)) % 2)
        self._truth.event("history", venue=self._venue, form=form, symbol=self.table.symbols[symbol], rows=len(rows),
                          missing=[min(taken), max(taken)] if taken else [])
        return rows
