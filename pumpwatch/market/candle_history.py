"""Fetch candles of unrecorded times from the venues, newest first, each time only once.

A running collector uses the same venues, so this uses a fifth of their limits. A venue that does not answer, or gives an invalid
answer, is not asked for a while; the others continue. The spans already asked for are marks of the store, one per series.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from pumpwatch.clock import Clock
from pumpwatch.errors import REFUSALS, BadFrame, ServiceUnavailable
from pumpwatch.market.candle_columns import CandleColumns, CandleOrigin, Series
from pumpwatch.market.interfaces import CandleStore
from pumpwatch.market.intervals import MINUTE, MINUTE_NS
from pumpwatch.market.journal_follower import Write
from pumpwatch.market.minute_verdicts import Span, merged_spans
from pumpwatch.model import Float64, Instrument
from pumpwatch.net.texts import one_line
from pumpwatch.ops.candle_check import why_wrong
from pumpwatch.venue import Candle, HttpRequest, Venue

log = logging.getLogger(__name__)

MARK = "asked "  # before the series, in the name of a mark
FIRST_PAUSE_S, LONGEST_PAUSE_S = 60.0, 3600.0
FAILURES = 3  # symbols in a row without an answer, after which a venue is left alone
Ask = Callable[[Venue, HttpRequest], bytes]  # within the budget; raises ServiceUnavailable
InStoreThread = Callable[[Callable[[], object]], object]  # runs a piece of work where the store may be used


@dataclass(slots=True)
class Pause:
    """The time until which a venue is left alone (monotonic seconds), and how long the last pause was."""

    until_s: float = 0.0
    seconds: float = 0.0


class CandleHistory:
    """Fetches for one store. `fetch` may run in several greenlets, each with a venue of its own."""

    def __init__(self, store: CandleStore, ask: Ask, clock: Clock, run: InStoreThread,
                 write: Write | None = None) -> None:
        self._store, self._ask, self._clock, self._run = store, ask, clock, run
        self._write = write or (lambda series, rows, marks: store.write(MINUTE, series, rows, marks))
        self._pauses: dict[str, Pause] = {}
        self._figures = {"asked": 0, "fetched": 0, "refused": 0}

    def figures(self) -> dict[str, int]:
        """Return requests that were answered, candles that came, and symbols without a good answer."""
        return dict(self._figures)

    def fetch(self, venue: Venue, instruments: Mapping[str, Instrument], missing: Mapping[str, Sequence[Span]],
              marks: Mapping[str, str], within_s: float) -> None:
        """Ask a venue for the missing minutes of its symbols for at most `within_s`, symbols with newer ones first.

        marks: of the store. Raises StorageError where the store does not take them.
        """
        pause, until_s = self._pauses.setdefault(venue.name, Pause()), self._clock.monotonic() + within_s
        failed = 0
        for symbol, spans in self._work(venue, missing, marks):
            for span in spans:
                if self._clock.monotonic() >= until_s or self._clock.monotonic() < pause.until_s:
                    return
                try:
                    rows = self._candles(venue, instruments.get(symbol) or Instrument(symbol=symbol, base="", quote=""), span)
                except (ServiceUnavailable, *REFUSALS) as error:
                    failed += 1
                    self._figures["refused"] += 1
                    if failed >= FAILURES or isinstance(error, ServiceUnavailable):
                        self._leave_alone(venue, pause, error)
                        return
                    break
                failed, pause.seconds = 0, 0.0
                self._keep((venue.exchange, venue.market_type, symbol), rows, span)

    def _work(self, venue: Venue, missing: Mapping[str, Sequence[Span]],
              marks: Mapping[str, str]) -> Iterator[tuple[str, list[Span]]]:
        """Yield each symbol with the parts to ask for, both by time, the newest first."""
        if venue.candles is None:
            return
        now_ns, most = self._clock.now_ns(), venue.candles.rows_per_request
        oldest = -1 if math.isinf(venue.candles.reach_s) else -(-(now_ns - int(venue.candles.reach_s * 1e9)) // MINUTE_NS)
        found: list[tuple[str, list[Span]]] = []
        for symbol, spans in missing.items():
            asked = asked_spans(marks.get(mark_of((venue.exchange, venue.market_type, symbol)), ""))
            left = without([(max(first, oldest), end) for first, end in spans], asked)
            parts = [(max(at - most, first), at) for first, end in left for at in range(end, first, -most)]
            if parts:
                found.append((symbol, sorted(parts, reverse=True)))
        yield from sorted(found, key=lambda entry: (-entry[1][0][1], entry[0]))

    def _candles(self, venue: Venue, instrument: Instrument, span: Span) -> list[Candle]:
        """Return a venue's candles of a span. Raises ServiceUnavailable, or one of REFUSALS for a wrong answer."""
        assert venue.candles is not None
        start_ns, end_ns = span[0] * MINUTE_NS, span[1] * MINUTE_NS
        rows = venue.candles.parse(self._ask(venue, venue.candles.request(instrument.symbol, start_ns, end_ns)), instrument)
        self._figures["asked"] += 1
        before_ns = -1
        for candle in rows:
            problem = why_wrong(candle, before_ns, self._clock.now_ns())
            if problem:
                raise BadFrame(problem)
            before_ns = candle.start_ns
        return [candle for candle in rows if start_ns <= candle.start_ns < end_ns and candle.volume > 0]

    def _keep(self, series: Series, candles: Sequence[Candle], span: Span) -> None:
        """Store candles where no complete one is, and remember the span, in one transaction."""
        rows = columns_of(candles)

        def work() -> None:
            held = self._store.read(series, MINUTE, span[0] * MINUTE_NS, span[1] * MINUTE_NS)
            kept = rows.take(~np.isin(rows.timestamp, held.timestamp[held.complete]))
            asked = merged_spans([*asked_spans(self._store.marks().get(mark_of(series), "")), span])
            self._write([series], kept, {mark_of(series): msgspec.json.encode(asked[-20:]).decode()})
            self._figures["fetched"] += len(kept)

        self._run(work)

    def _leave_alone(self, venue: Venue, pause: Pause, error: Exception) -> None:
        if not pause.seconds:
            log.warning("venue does not give candles, it is asked again later venue=%s reason=%s", venue.name,
                        one_line(str(error), 200))
        pause.seconds = min(2 * pause.seconds or FIRST_PAUSE_S, LONGEST_PAUSE_S)
        pause.until_s = self._clock.monotonic() + pause.seconds


def columns_of(candles: Sequence[Candle]) -> CandleColumns:
    """Return a venue's candles as columns of one series; they count as complete."""
    count = len(candles)
    prices: list[Float64] = [np.array([getattr(candle, name) for candle in candles], np.float64)
                             for name in ("open", "high", "low", "close", "volume", "quote_volume")]
    return CandleColumns(
        series=np.zeros(count, np.int32), timestamp=np.array([candle.start_ns for candle in candles], np.int64), open=prices[0],
        high=prices[1], low=prices[2], close=prices[3], volume=prices[4], quote_volume=np.where(prices[5] < 0, np.nan, prices[5]),
        taker_buy_volume=np.full(count, np.nan), trades=np.array([candle.trades for candle in candles], np.int64),
        complete=np.ones(count, np.bool_), origin=np.full(count, CandleOrigin.VENUE, np.uint8))


def mark_of(series: Series) -> str:
    """Return the name of the mark of what was asked of a series."""
    return MARK + " ".join(series)


def asked_spans(mark: str) -> list[Span]:
    """Return the spans in a mark; none in a text that is not one."""
    try:
        return msgspec.json.decode(mark or "[]", type=list[tuple[int, int]])
    except msgspec.MsgspecError:
        return []


def without(spans: Sequence[Span], taken: Sequence[Span]) -> list[Span]:
    """Return the parts of spans that are in none of `taken`."""
    left = merged_spans(spans)
    for first, end in taken:
        left = [part for begin, until in left for part in ((begin, min(until, first)), (max(begin, end), until))
                if part[0] < part[1]]
    return left
