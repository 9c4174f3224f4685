"""Rows of a history, for tests of how they are told apart from stored trades."""

from __future__ import annotations

import numpy as np

from pumpwatch.model import NO_SEQUENCE, TradeBatch

Row = tuple[int, float]  # id (or time, where the venue has none) and price


def rows(*trades: Row, instrument: int = 0, texts: list[bytes] | None = None) -> TradeBatch:
    """Return trades of one instrument. A trade's time is ten times its id; with texts, `id` is the time itself."""
    count = len(trades)
    ids = np.array([trade[0] for trade in trades], np.int64)
    times = ids if texts is not None else ids * 10
    return TradeBatch(times, np.full(count, instrument, np.int32), np.array([trade[1] for trade in trades]), np.ones(count),
                      np.zeros(count, np.uint8), np.full(count, -1) if texts is not None else ids,
                      np.full(count, NO_SEQUENCE), times, np.zeros(count, np.uint8),
                      None if texts is None else np.array(texts, np.bytes_))
