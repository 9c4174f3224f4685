"""Trades for tests: batches that look like a minute of a market, and the catalogue that names them."""

from __future__ import annotations

import time

import numpy as np

from pumpwatch.catalogue import Catalogue
from pumpwatch.model import FUTURES, NO_SEQUENCE, SPOT, Instrument, TradeBatch

VENUES = (("binance", SPOT), ("binance", FUTURES))


def catalogue_of(symbols: int = 4) -> Catalogue:
    """Return a catalogue of `symbols` coins on Binance spot and futures: C0USDT, C1USDT ..."""
    catalogue = Catalogue()
    for number in range(symbols):
        for venue in VENUES:
            catalogue.add(venue, Instrument(symbol=f"C{number}USDT", base=f"C{number}", quote="USDT"))
    return catalogue


def batch_of(rows: int, *, first_id: int = 1, instruments: int = 8, start_ns: int | None = None, step_ns: int = 200_000,
             seed: int = 1) -> TradeBatch:
    """Return `rows` trades with ids from `first_id`, `step_ns` apart, over instruments 0 .. instruments - 1."""
    draw = np.random.default_rng(seed)
    timestamp = (time.time_ns() if start_ns is None else start_ns) + np.arange(rows, dtype=np.int64) * step_ns
    return TradeBatch(
        timestamp=timestamp, instrument=draw.integers(0, instruments, rows).astype(np.int32),
        price=np.round(draw.lognormal(3, 2, rows), 6), quantity=np.round(draw.lognormal(0, 2, rows), 5) + 0.00001,
        side=draw.integers(0, 2, rows).astype(np.uint8), trade_id=np.arange(first_id, first_id + rows, dtype=np.int64),
        sequence_number=np.full(rows, NO_SEQUENCE, np.int64), received_at=timestamp + 3_000_000,
        flags=np.zeros(rows, np.uint8))
