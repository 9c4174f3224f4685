"""Tapes whose every figure a test chooses."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import numpy as np

from pumpwatch.clock import NS_PER_MS
from pumpwatch.model import BUY, NO_SEQUENCE, SELL, Listing, TradeBatch
from pumpwatch.paper.tape import Book, Tape, TapeMarket, make_tape

T0 = 1_793_685_600_000_000_000  # 2026-11-03T06:00:00Z: announced, detected and triggered
SPOT = TapeMarket("binance.spot", "KITEUSDT", "spot", Decimal("0.001"), Decimal("0.001"))
FUTURES = TapeMarket("binance.futures", "KITEUSDT", "futures", Decimal("0.0002"), Decimal("0.0005"), 20)
LISTING = Listing(source="upbit", notice_id="6642", symbol="KITE", title="KITE KRW", announced_at_ns=T0, detected_at_ns=T0,
                  triggered_at_ns=T0)
BUYS, SELLS = BUY, SELL

Row = tuple[float, float, float, int]  # ms after the trigger, price, quantity, side


def ms(number: float) -> int:
    """Return the time so many ms after the trigger."""
    return T0 + round(number * NS_PER_MS)


def tape(rows: Sequence[Row], *others: Sequence[Row], markets: Sequence[TapeMarket] = (SPOT, FUTURES), end_ms: float = 20_000,
         books: dict[int, list[Book]] | None = None, behind_ms: float = 10) -> Tape:
    """Return a tape: rows of the first market, then of the others. Each trade is received behind_ms after its time."""
    whole = [(number, *row) for number, found in enumerate((rows, *others)) for row in found]
    whole.sort(key=lambda row: row[1])
    timestamp = np.array([ms(row[1]) for row in whole], np.int64)
    count = len(whole)
    batch = TradeBatch(timestamp, np.array([row[0] for row in whole], np.int32), np.array([row[2] for row in whole], np.float64),
                       np.array([row[3] for row in whole], np.float64), np.array([row[4] for row in whole], np.uint8),
                       np.arange(count, dtype=np.int64), np.full(count, NO_SEQUENCE, np.int64),
                       timestamp + round(behind_ms * NS_PER_MS), np.zeros(count, np.uint8))
    return make_tape(LISTING, markets, range(len(markets)), batch, ms(end_ms), books=books, identity="tape")
