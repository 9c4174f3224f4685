"""Compare the stored trades of each minute with the venue's own one-minute candles.

The candles are independent evidence: they come by another way than the trades. A minute differs if its volume or number of trades
differs by more than the venue's tolerance. It still agrees

- together with the next minute, if both differ by the same amount in opposite directions: the venue counts a trade near the full
  minute in the other one;
- if the candle leaves out all trades with some flag: no document says whether venues count such trades.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import combinations

from pumpwatch.errors import REFUSALS, ServiceUnavailable
from pumpwatch.model import Flag, Instrument
from pumpwatch.net.texts import one_line
from pumpwatch.ops.completeness import Contradiction
from pumpwatch.ops.minute_states import State
from pumpwatch.store.minutes import MINUTE_NS, FlaggedSum
from pumpwatch.venue import Candle, Candles, HttpRequest, Venue

ROUNDING = 1e-9  # of sums of doubles, and of figures that a venue rounds
GIVEN_UP_AFTER = 3  # symbols without an answer, in a row
KINDS = (int(Flag.BLOCK), int(Flag.RPI), Flag.outside_market(), int(Flag.INTERNAL))  # flags that candles may leave out
READ_IN_VAIN = 60  # minutes of a symbol that flagged trades do not explain; then no more trades are read
SumsByFlags = Callable[[int], Sequence[FlaggedSum]]  # of a minute; empty if its trades are no longer stored


@dataclass(frozen=True, slots=True)
class OwnMinute:
    """The stored figures of a symbol's minute: trades matched by orders, their volume. joined: a row is an aggregate."""

    minute: int
    state: State
    trades: int = 0
    volume: float = 0.0
    joined: bool = False


@dataclass(slots=True)
class CandleSum:
    """The result for one venue, in minutes of symbols.

    in_gaps: minutes that differ and are in a gap. beyond: older than the venue's candles. refused: impossible candles, with the
    reason. problems: symbols without an answer. note: why the venue is not queried at all.
    """

    exchange: str
    market_type: str
    tolerance: float = 0.0
    why: str = ""
    symbols: int = 0
    compared: int = 0
    agreed: int = 0
    shifted: int = 0
    in_gaps: int = 0
    beyond: int = 0
    refused: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    note: str = ""
    flaws: list[Contradiction] = field(default_factory=list)


class CandleCheck:
    """Compares symbols of one venue. `ask` sends a request within the venue's budget; it raises ServiceUnavailable."""

    def __init__(self, venue: Venue, ask: Callable[[HttpRequest], bytes], now_ns: int) -> None:
        self._venue, self._ask, self._now_ns = venue, ask, now_ns
        self._failed = 0
        self._in_vain = 0
        self.found = CandleSum(venue.exchange, venue.market_type)
        if venue.candles is None:
            self.found.note = "its plugin has no candles"
        else:
            self.found.tolerance, self.found.why = venue.candles.tolerance, venue.candles.why

    @property
    def given_up(self) -> bool:
        """Return whether the venue is not queried any more."""
        return self._venue.candles is None or self._failed >= GIVEN_UP_AFTER

    def requests(self, minutes: int) -> int:
        """Return how many requests `minutes` minutes of a symbol take."""
        return -(-minutes // self._venue.candles.rows_per_request) if self._venue.candles else 0

    def compare(self, instrument: Instrument, minutes: Sequence[OwnMinute], by_flags: SumsByFlags) -> None:
        """Compare a symbol's minutes, which are consecutive.

        by_flags: called for minutes whose figures differ and which are not in a gap.
        """
        candles = self._venue.candles
        if candles is None or self.given_up:
            return
        oldest = 0 if math.isinf(candles.reach_s) else int(self._now_ns - candles.reach_s * 1e9) // MINUTE_NS + 1
        within = [own for own in minutes if own.minute >= oldest]
        self.found.beyond += len(minutes) - len(within)
        if not within:
            return
        self.found.symbols += 1
        try:
            theirs = self._fetch(candles, instrument, within[0].minute, within[-1].minute + 1)
        except ServiceUnavailable as error:
            self._failed += 1
            self.found.problems.append(f"{instrument.symbol}: {error.message}")
            return
        self._failed = 0
        if theirs is not None:
            self._judge(instrument.symbol, within, theirs, cache(by_flags))

    def _fetch(self, candles: Candles, instrument: Instrument, first: int, end: int) -> dict[int, Candle] | None:
        """Return the candles by minute; None, with the reason in `refused`, if an answer is unusable."""
        found: dict[int, Candle] = {}
        for start in range(first, end, candles.rows_per_request):
            start_ns, end_ns = start * MINUTE_NS, min(start + candles.rows_per_request, end) * MINUTE_NS
            body = self._ask(candles.request(instrument.symbol, start_ns, end_ns))
            try:
                rows = candles.parse(body, instrument)
            except REFUSALS as error:
                self._refuse(instrument.symbol, f"the answer cannot be read: {one_line(str(error), 200)}")
                return None
            before_ns = -1
            for candle in rows:
                problem = why_wrong(candle, before_ns, self._now_ns)
                if problem:
                    self._refuse(instrument.symbol, problem)
                    return None
                before_ns = candle.start_ns
                if start_ns <= candle.start_ns < end_ns:  # some venues send more than was requested
                    found[candle.start_ns // MINUTE_NS] = candle
        return found

    def _refuse(self, symbol: str, why: str) -> None:
        self.found.refused.append(f"{symbol}: {why}")

    def _judge(self, symbol: str, minutes: Sequence[OwnMinute], theirs: dict[int, Candle], by_flags: SumsByFlags) -> None:
        self._in_vain = 0
        claimed = [own for own in minutes if own.state != State.UNREAD]
        self.found.compared += len(claimed)
        differ = {own.minute: own for own in claimed if not self._agrees([own], theirs, by_flags)}
        by_minute = {own.minute: own for own in claimed}
        self.found.agreed += len(claimed) - len(differ)
        while differ:
            minute, own = next(iter(differ.items()))
            del differ[minute]
            following = differ.get(minute + 1)
            if following is not None and self._agrees([own, by_minute[minute + 1]], theirs, by_flags):
                del differ[minute + 1]
                self.found.shifted += 2
            elif own.state == State.GAP:
                self.found.in_gaps += 1
            else:
                self.found.flaws.append(Contradiction(
                    "candle", self.found.exchange, self.found.market_type, symbol, minute * MINUTE_NS,
                                                      (minute + 1) * MINUTE_NS, _difference(own, theirs.get(minute))))

    def _agrees(self, minutes: Sequence[OwnMinute], theirs: dict[int, Candle], by_flags: SumsByFlags) -> bool:
        """Return whether the sums of volume and number of trades of these minutes equal those of the candles."""
        candles = [theirs[own.minute] for own in minutes if own.minute in theirs]
        volume, counted = sum(candle.volume for candle in candles), sum(candle.trades for candle in candles)
        if any(candle.trades < 0 for candle in candles) or any(own.joined for own in minutes):
            counted = -1
        if self._equal(sum(own.volume for own in minutes), sum(own.trades for own in minutes), volume, counted):
            return True
        if self._in_vain >= READ_IN_VAIN or any(own.state == State.GAP for own in minutes):
            return False
        sums = [part for own in minutes for part in by_flags(own.minute)]
        agrees = any(self._equal(*figures, volume, counted) for figures in without_kinds(sums))
        self._in_vain = 0 if agrees else self._in_vain + 1
        return agrees

    def _equal(self, ours: float, count: int, volume: float, counted: int) -> bool:
        """Return whether stored figures equal those of the venue; counted: -1 if the numbers cannot be compared."""
        if abs(ours - volume) > max(self.found.tolerance, ROUNDING) * max(ours, volume):
            return False
        return counted < 0 or abs(count - counted) <= self.found.tolerance * max(count, counted)


def without_kinds(sums: Sequence[FlaggedSum]) -> Iterator[tuple[float, int]]:
    """Yield volume and number of the trades without each combination of flagged kinds among them; nothing without such kinds."""
    kinds = [kind for kind in KINDS if any(part.flags & kind for part in sums)]
    for count in range(len(kinds) + 1 if kinds else 0):
        for chosen in combinations(kinds, count):
            counted = [part for part in sums if not part.flags & sum(chosen)]
            yield sum(part.volume for part in counted), sum(part.trades for part in counted)


def why_wrong(candle: Candle, before_ns: int, now_ns: int) -> str:
    """Return why a candle, after one that starts at `before_ns`, is impossible; empty if it is possible."""
    if candle.start_ns > now_ns:
        return f"a candle is in the future: {candle.start_ns}"
    if candle.start_ns <= before_ns:
        return f"candles are not in order: {candle.start_ns} after {before_ns}"
    lowest, highest = min(candle.open, candle.close), max(candle.open, candle.close)
    if candle.volume > 0 and not 0 < candle.low <= lowest <= highest <= candle.high:
        return f"a candle's prices contradict each other, at {candle.start_ns}"
    return ""


def _difference(own: OwnMinute, candle: Candle | None) -> str:
    volume, trades = (candle.volume, candle.trades) if candle else (0.0, 0 if own.trades else -1)
    counts = f", {own.trades:,} trades and {trades:,}" if trades >= 0 else ""
    return f"{own.volume:.10g} are stored, the venue's candle has {volume:.10g}{counts}"
