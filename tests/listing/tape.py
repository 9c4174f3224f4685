"""Trades whose every figure a test chooses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pumpwatch.clock import NS_PER_MS
from pumpwatch.model import BUY, NO_SEQUENCE, TradeBatch
from tests.listing.market import ANNOUNCED_NS

Row = tuple[float, float, float, int]  # ms after the announcement, price, quantity, side


def tape(instrument: int, rows: Sequence[Row], *, shift_ns: int = 0) -> TradeBatch:
    """Return these trades of one instrument, in the given order, with ids from 1 on; shift_ns is added to each time."""
    count = len(rows)
    timestamp = np.array([ANNOUNCED_NS + round(row[0] * NS_PER_MS) + shift_ns for row in rows], np.int64)
    return TradeBatch(
        timestamp=timestamp, instrument=np.full(count, instrument, np.int32),
        price=np.array([row[1] for row in rows], np.float64),
        quantity=np.array([row[2] for row in rows], np.float64), side=np.array([row[3] for row in rows], np.uint8),
        trade_id=np.arange(1, count + 1, dtype=np.int64), sequence_number=np.full(count, NO_SEQUENCE, np.int64),
        received_at=timestamp + 5 * NS_PER_MS, flags=np.zeros(count, np.uint8))


def calm(instrument: int, *, from_s: int, to_s: int, price: float = 1.0, shift_ns: int = 0) -> TradeBatch:
    """Return one buy of 100 a second at one price, each in the middle of its second."""
    return tape(instrument, [(second * 1000 + 500, price, 100.0, BUY) for second in range(from_s, to_s)], shift_ns=shift_ns)
