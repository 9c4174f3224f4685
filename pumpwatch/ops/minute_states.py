"""Decide for each symbol and minute whether its trades are complete, from stored trades and gaps.

A minute is `complete` if the symbol was watched for all of it, and no open or lost gap touches it. It is `filled` if it was in a
gap whose trades came from the venue's history, and `gap`, with a reason, if trades may be missing. It is `quiet` if it is
complete without a trade, and `unread` if the symbol was not watched and no gap touches the minute: then nothing is claimed.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pumpwatch.model import Gap, GapState, Int64
from pumpwatch.records import GapFill
from pumpwatch.store.coverage import Watched
from pumpwatch.store.minutes import MINUTE_NS
from pumpwatch.store.pending_records import GapKey, gap_key

MOST_TEXTS = 2**16 - 2
_IDS = re.compile(r"(ids jump|restarted its ids).*")  # cuts off single ids, which would make every reason unique


class State(enum.IntEnum):
    """The state of a symbol in a minute."""

    QUIET = 0
    COMPLETE = 1
    FILLED = 2
    GAP = 3
    UNREAD = 4


@dataclass(frozen=True, slots=True)
class StateRun:
    """Minutes [first, end) of a symbol in one state, with the number of their stored trades."""

    symbol: str
    first: int
    end: int
    state: State
    reason: str
    trades: int


@dataclass(slots=True)
class Timeline:
    """The states of a venue's symbols: a row for each symbol, a column for each minute from `first` (since 1970) on."""

    exchange: str
    market_type: str
    first: int
    symbols: list[str]
    trades: Int64
    states: NDArray[np.uint8]
    reasons: NDArray[np.uint16]  # index in `texts`; 0: none
    texts: list[str] = field(default_factory=lambda: [""])
    _numbers: dict[str, int] = field(default_factory=lambda: {"": 0})  # text -> its index in `texts`

    @property
    def end(self) -> int:
        """Return the minute after the last one."""
        return self.first + int(self.states.shape[1])

    def mark(self, rows: Sequence[int], from_ns: int, to_ns: int, state: State, reason: str = "") -> None:
        """Set the state of all minutes that [from_ns, to_ns) touches, except minutes in a worse state."""
        first, last = max(from_ns // MINUTE_NS, self.first) - self.first, min(-(-to_ns // MINUTE_NS), self.end) - self.first
        if first >= last or not len(rows):
            return
        place = np.ix_(np.array(rows, np.int64), np.arange(first, last))
        worse = self.states[place] < state
        self.states[place] = np.where(worse, np.uint8(state), self.states[place])
        if reason:
            self.reasons[place] = np.where(worse | (self.reasons[place] == 0), np.uint16(self._text(reason)), self.reasons[place])

    def _text(self, reason: str) -> int:
        if reason not in self._numbers and len(self.texts) >= MOST_TEXTS:
            reason = "other reasons"
        if reason not in self._numbers:
            self._numbers[reason] = len(self.texts)
            self.texts.append(reason)
        return self._numbers[reason]

    def counts(self) -> dict[State, int]:
        """Return the number of minutes in each state, of all symbols together."""
        found = np.bincount(self.states.ravel(), minlength=len(State))
        return {state: int(found[state]) for state in State}

    def runs(self, row: int) -> Iterator[StateRun]:
        """Yield the runs of one symbol, oldest first."""
        states, reasons = self.states[row], self.reasons[row]
        change = np.flatnonzero((np.diff(states) != 0) | (np.diff(reasons) != 0)) + 1
        for first, end in zip([0, *change.tolist()], [*change.tolist(), len(states)], strict=True):
            if first < end:
                yield StateRun(self.symbols[row], self.first + first, self.first + end, State(int(states[first])),
                               self.texts[int(reasons[first])], int(self.trades[row, first:end].sum()))


def timeline(venue: tuple[str, str], symbols: Sequence[str], trades: Int64, first: int, gaps: Iterable[Gap],
             fills: Iterable[GapFill], watched: Sequence[Watched]) -> Timeline:
    """Return the states of a venue's symbols. `trades` has a row for each symbol and a column for each minute from `first` on.

    gaps, fills, watched: of this venue, at any time.
    """
    states = np.where(trades > 0, np.uint8(State.COMPLETE), np.uint8(State.QUIET))
    found = Timeline(*venue, first, list(symbols), trades, states, np.zeros(states.shape, np.uint16))
    row_of = {symbol: row for row, symbol in enumerate(symbols)}
    by_gap: dict[GapKey, dict[str, GapFill]] = {}
    for fill in fills:
        by_gap.setdefault(gap_key(fill.gap), {})[fill.symbol] = fill
    known = [gap for gap in gaps if gap.to_ns > first * MINUTE_NS and gap.from_ns < found.end * MINUTE_NS]
    for gap in known:
        _apply(found, gap, by_gap.get(gap_key(gap), {}), row_of)
    _leave_unread(found, watched, known)
    return found


def _apply(found: Timeline, gap: Gap, fills: Mapping[str, GapFill], row_of: Mapping[str, int]) -> None:
    if gap.symbol:
        rows = [row_of[gap.symbol]] if gap.symbol in row_of else []
    else:
        rows = [row_of[symbol] for symbol in gap.symbols if symbol in row_of] if gap.symbols else list(row_of.values())
    alone: list[int] = []
    together: dict[tuple[GapState, int, int, str], list[int]] = {}
    for row in rows:
        fill = fills.get(found.symbols[row])
        if fill is None or fill.gap.to_ns < gap.to_ns:
            alone.append(row)
        else:
            bounds = (fill.lost_from_ns, fill.lost_to_ns, fill.reason) if fill.state == GapState.LOST else (0, 0, "")
            together.setdefault((fill.state, *bounds), []).append(row)
    reason = _IDS.sub(r"\1", gap.reason)
    for (state, *lost, why), rows in together.items():
        _apply_fill(found, gap, state, (lost[0], lost[1]), (reason, why), rows)
    if alone:
        filled = gap.state == GapState.FILLED
        found.mark(alone, gap.from_ns, gap.to_ns, State.FILLED if filled else State.GAP, reason)


def _apply_fill(found: Timeline, gap: Gap, fill: GapState, lost: tuple[int, int], reasons: tuple[str, str],
                rows: Sequence[int]) -> None:
    """Mark the symbols whose fills of a gap are equal. reasons: of the gap, and of the fill."""
    if fill == GapState.OPEN and gap.state != GapState.FILLED:
        found.mark(rows, gap.from_ns, gap.to_ns, State.GAP, reasons[0])
        return
    found.mark(rows, gap.from_ns, gap.to_ns, State.FILLED, reasons[0])
    if fill == GapState.LOST:
        bounds = lost if lost[1] > lost[0] else (gap.from_ns, gap.to_ns)
        found.mark(rows, *bounds, State.GAP, "; ".join(filter(None, reasons)))


def _leave_unread(found: Timeline, watched: Sequence[Watched], gaps: Sequence[Gap]) -> None:
    """Mark the minutes in which a symbol was not watched.

    Open and lost gaps stay, because the records of watched symbols may be lost as well. A filled gap proves nothing for the time
    before a symbol was first watched, or for the time before the gap. Without such records, a symbol counts as watched after the
    minute of its first trade.
    """
    shape = found.states.shape
    unread, before = np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
    first_ns = watched[0].from_ns if watched else 2**63 - 1
    known = min(max(-(-first_ns // MINUTE_NS) - found.first, 0), shape[1])
    seen = np.maximum.accumulate(found.trades[:, :known] > 0, axis=1)
    unread[:, 1:known] = ~seen[:, :max(known - 1, 0)]
    unread[:, :min(known, 1)] = True
    before[:, :known] = unread[:, :known]
    ever = np.array([symbol in watched[0].symbols for symbol in found.symbols] if watched else [], np.bool_)
    for now, following in zip(watched, [*watched[1:], None], strict=False):
        first = max(now.from_ns // MINUTE_NS - found.first, 0)
        end = shape[1] if following is None else min(-(-following.from_ns // MINUTE_NS) - found.first, shape[1])
        inside = np.array([symbol in now.symbols for symbol in found.symbols], np.bool_)
        ever = ever | inside
        if first < end:
            unread[~inside, first:end] = True
            before[~ever, first:end] = True
    for row in np.flatnonzero((unread & (found.states == State.FILLED)).any(axis=1)).tolist():
        _leave_unnamed(found, row, watched, gaps)
    found.states[unread & (found.states < State.FILLED)] = State.UNREAD
    found.states[before & (found.states != State.GAP)] = State.UNREAD
    found.reasons[found.states == State.UNREAD] = 0


def _leave_unnamed(found: Timeline, row: int, watched: Sequence[Watched], gaps: Sequence[Gap]) -> None:
    """Mark the filled minutes of a symbol in which it was not watched before the gap began.

    A gap reaches back to the end of watching, unless another collector has read the symbol in between.
    """
    symbol = found.symbols[row]
    named = [gap for gap in gaps if gap.touches(symbol)]
    for now, following in zip(watched, [*watched[1:], None], strict=False):
        if symbol in now.symbols:
            continue
        until_ns = found.end * MINUTE_NS if following is None else following.from_ns
        until_ns = min([until_ns, *(gap.from_ns for gap in named if gap.to_ns > now.from_ns)])
        first, end = now.from_ns // MINUTE_NS - found.first, -(-until_ns // MINUTE_NS) - found.first
        if until_ns > now.from_ns and end > 0:
            part = found.states[row, max(0, first):end]
            part[part == State.FILLED] = State.UNREAD
