"""Instruments, expected rows, and a comparison of what was read, for the tests of the sinks."""

from __future__ import annotations

import numpy as np

from pumpwatch.hookspecs import ListingEvent, Sink
from pumpwatch.model import FUTURES, SPOT, Listing, TradeBatch
from tests.trades import catalogue_of

CATALOGUE = catalogue_of()

HEALTH = {"exchange": "binance", "market_type": SPOT, "connections": 2, "trades": 7, "lag_ms": 1.5, "gaps": 0,
          "status": "degraded", "last_trade_time": 1_795_000_000_123_456_789, "message_count": 5,
          "error_message": "it's closed: '); DROP TABLE trades"}
NO_TRADE = {**HEALTH, "market_type": FUTURES, "status": "connected", "last_trade_time": 0, "error_message": ""}
EVENT = ListingEvent("data/ZKP", 1, ("binance", "okx"))


def listing_at(now: int) -> Listing:
    return Listing(source="upbit", notice_id="4821", symbol="ZKP", title="it's a 제목", announced_at_ns=now,
                   detected_at_ns=now + 1, triggered_at_ns=now + 2_500_000)


def names() -> list[tuple[str, str, str]]:
    return CATALOGUE.names(range(len(CATALOGUE)))


def read_all(sink: Sink, batch: TradeBatch) -> TradeBatch:
    found = sink.read(names(), int(batch.timestamp.min()), int(batch.timestamp.max()) + 1, CATALOGUE)
    return found.take(np.lexsort((found.trade_id, found.timestamp)))


def assert_same(found: TradeBatch, expected: TradeBatch) -> None:
    assert len(found) == len(expected)
    for got, wanted in zip(found.columns(), expected.columns(), strict=True):
        if got is None or wanted is None:
            assert got is wanted
        else:
            np.testing.assert_array_equal(got, wanted)
