"""Parts of a market for tests: trades in memory, and a venue that answers by a script."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from pumpwatch_plugins.exchanges.binance import VENUES

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import Clock
from pumpwatch.errors import ServiceUnavailable
from pumpwatch.market.candle_columns import CandleColumns, CandleOrigin
from pumpwatch.market.intervals import MINUTE_NS
from pumpwatch.market.venue_asker import VenueAccess, VenueAsker
from pumpwatch.model import TradeBatch
from pumpwatch.venue import HttpRequest
from tests.trades import catalogue_of

SPOT, FUTURES = VENUES[0], VENUES[1]
C0 = ("binance", "spot", "C0USDT")
EMPTY: Any = TradeBatch.empty()


class KeptTrades:
    """Trades of a catalogue; `asked` has the times of each question."""

    def __init__(self, batch: TradeBatch = EMPTY, catalogue: Catalogue | None = None) -> None:
        self.catalogue = catalogue or catalogue_of()
        self.batch, self.asked = batch, list[tuple[int, int]]()
        self.unreadable: list[str] = []
        self.changes = self.looks = 0
        self.whole_ns = 0  # 0: since its first trade

    def between(self, ids: Sequence[int], from_ns: int, to_ns: int) -> TradeBatch:
        self.asked.append((from_ns, to_ns))
        rows = np.isin(self.batch.instrument, ids) & (self.batch.timestamp >= from_ns) & (self.batch.timestamp < to_ns)
        return self.batch.take(rows)

    def begins_ns(self) -> int:
        return int(self.batch.timestamp[0]) if len(self.batch) else 2**62

    def whole_from_ns(self) -> int:
        return self.whole_ns or self.begins_ns()

    def look_again(self) -> None:
        self.looks += 1

    def state(self) -> object:
        return self.changes

    def problems(self) -> list[str]:
        found, self.unreadable = self.unreadable, []
        return found


def trades_at(*rows: tuple[int, float, float], instrument: int = 0) -> TradeBatch:
    """Return bought trades: time in ns, price, quantity."""
    from tests.trades import batch_of

    made = batch_of(len(rows))
    columns = list(made.columns())
    times = np.array([at for at, _, _ in rows], np.int64)
    columns[0], columns[1] = times, np.full(len(rows), instrument, np.int32)
    columns[2], columns[3] = np.array([price for _, price, _ in rows]), np.array([size for _, _, size in rows])
    columns[4] = np.zeros(len(rows), np.uint8)
    return TradeBatch(*columns)  # type: ignore[arg-type]


def minute(start_ns: int, price: float, *, trades: int = 2, complete: bool = True) -> CandleColumns:
    """Return a stored minute that begins at this time: open is the price, high 1 above, low 1 below, close half above."""
    return CandleColumns(
        np.zeros(1, np.int32), np.array([start_ns // MINUTE_NS * MINUTE_NS]), np.array([price]), np.array([price + 1]),
        np.array([price - 1]), np.array([price + 0.5]), np.array([3.0]), np.array([3 * price]), np.array([1.0]),
        np.array([trades]), np.array([complete]), np.full(1, CandleOrigin.TRADES, np.uint8))


def asker(answer: Callable[[HttpRequest], Any], clock: Clock, **named: Any) -> VenueAsker:
    """Return an asker of Binance whose requests are answered by a function: bytes, or an error to raise."""
    def ask(request: HttpRequest) -> bytes:
        given = answer(request)
        if isinstance(given, Exception):
            raise given
        return bytes(given)

    return VenueAsker({venue.name: VenueAccess(venue, ask) for venue in (SPOT, FUTURES)}.get, clock, **named)


def refused(request: HttpRequest) -> Exception:
    """Answer as a venue that does not work."""
    return ServiceUnavailable(f"{request.path}: HTTP 503: try later")
