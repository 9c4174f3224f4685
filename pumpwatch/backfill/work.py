"""One piece of work: the missing trades of one symbol in one gap."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from pumpwatch.backfill.judge import GapVerdict, Range
from pumpwatch.model import Gap, GapState
from pumpwatch.records import NOT_RUNNING, GapFill

Rank = tuple[int, int, int, float, int]  # see order.py


@dataclass(slots=True)
class GapWork:
    """The missing trades of one symbol of a gap. number: the symbol's number in the catalogue.

    found: the number of trades stored so far. attempts: the number of answers that did not settle it. not_before: the monotonic
    seconds of the next attempt. wide: an answer was empty, so the next query begins earlier. verdict: of the last attempt that
    left it open. asked_ns: the time of the last request, by the venue's clock. skipped: the time of a request, and the ranges of
    ids that its answer left out between its rows.
    """

    gap: Gap
    symbol: str
    number: int
    found: int = 0
    attempts: int = 0
    failures: int = 0  # requests without a usable answer, in a row
    not_before: float = -math.inf
    settled_at: float = -math.inf  # monotonic seconds of the last change of the gap's end
    wide: bool = False
    verdict: GapVerdict | None = None
    asked_ns: int = 0
    skipped: tuple[int, list[Range]] = (0, [])
    spans: list[tuple[int, int]] = field(default_factory=list)  # of the history, read by earlier attempts
    filled: list[tuple[int, int]] = field(default_factory=list)  # other filled gaps of the symbol, without ids
    beside: Jumps | None = None  # all gaps of the symbol by jumps in ids; an answer may have the trades of several
    rank: Rank = (0, 0, 0, 0.0, 0)
    done: bool = False  # it has its result, or its gap has changed

    def go_on(self, earlier: GapWork) -> None:
        """Take over the progress from before the gap grew; trades after its earlier end were not stored."""
        until_ns = earlier.gap.to_ns
        self.found = max(self.found, earlier.found)
        self.spans = [(low, min(high, until_ns)) for low, high in earlier.spans if low <= until_ns]

    @property
    def by_jump(self) -> bool:
        """Return whether a jump in ids proves the loss."""
        return self.gap.first_id is not None and self.gap.last_id is not None

    @property
    def within_run(self) -> bool:
        """Return whether no trade of the gap was read, so that the ids seen since then show whether it is closed.

        Other gaps of a whole venue have trades that were read but not stored.
        """
        return bool(self.gap.symbol or self.gap.symbols or self.gap.reason.startswith(NOT_RUNNING))


class Jumps:
    """The gaps of one symbol by jumps in ids, in the order of their ids."""

    def __init__(self) -> None:
        self._works: list[tuple[int, int, int, GapWork]] = []  # first and last id

    def add(self, work: GapWork) -> None:
        """Add a work whose gap is a jump in ids; ignore any other."""
        if work.gap.first_id is not None and work.gap.last_id is not None:
            insort(self._works, (work.gap.first_id, work.gap.last_id, id(work), work))

    def forget_done(self) -> None:
        """Forget finished works."""
        self._works = [found for found in self._works if not found[-1].done]

    def near(self, first_id: int, last_id: int, than: GapWork) -> list[Range]:
        """Return the ids of the unfinished gaps that overlap [first_id, last_id], except that of `than`, in order."""
        at = max(0, bisect_left(self._works, (first_id,)) - 1)  # the previous gap may overlap
        found: list[Range] = []
        while at < len(self._works) and self._works[at][0] <= last_id:
            first, last, _, work = self._works[at]
            if last >= first_id and work is not than and not work.done:
                found.append((first, last))
            at += 1
        return found


@dataclass(slots=True)
class OpenGap:
    """An open gap and its progress.

    settled_at: monotonic seconds of the last change of its end. works: the remaining work by symbol, once it is split. grown: its
    end has changed. earlier: the work from before that, whose spans of the history still count.
    """

    gap: Gap
    settled_at: float
    fills: dict[str, GapFill] = field(default_factory=dict)
    split: bool = False
    works: dict[str, GapWork] = field(default_factory=dict)
    grown: bool = False
    earlier: dict[str, GapWork] = field(default_factory=dict)

    def left(self, symbols: Iterable[str]) -> list[str]:
        """Return the symbols that are not done."""
        return [symbol for symbol in symbols if symbol not in self.fills or self.fills[symbol].state is GapState.OPEN]

    def result(self) -> GapState:
        """Return the state of the gap once all its symbols are done."""
        lost = any(fill.state is GapState.LOST for fill in self.fills.values())
        return GapState.LOST if lost else GapState.FILLED


def symbols_of(gap: Gap, known: Iterable[str]) -> tuple[str, ...]:
    """Return the symbols that a gap covers; `known` are those of its venue."""
    if gap.symbol:
        return (gap.symbol,)
    return gap.symbols or tuple(known)


def works_of(open_gap: OpenGap, ids: Mapping[str, int]) -> Iterator[GapWork]:
    """Yield the remaining work of a gap. ids: symbol -> number; symbols without a number are left out."""
    for symbol in open_gap.left(symbols_of(open_gap.gap, ids)):
        if symbol in ids:
            before = open_gap.fills.get(symbol)
            work = GapWork(open_gap.gap, symbol, ids[symbol], before.found if before else 0, settled_at=open_gap.settled_at)
            if earlier := open_gap.earlier.get(symbol):
                work.go_on(earlier)
            elif before is not None and before.lost_from_ns > work.gap.from_ns:  # an earlier run read it so far
                work.spans = [(work.gap.from_ns - 1, before.lost_from_ns)]
            yield work
