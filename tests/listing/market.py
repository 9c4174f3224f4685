"""A market for tests of windows: calm trades, then a jump, on several venues; and a store that holds it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_MS, NS_PER_S
from pumpwatch.model import FUTURES, NO_SEQUENCE, SPOT, Instrument, Listing, TradeBatch
from pumpwatch.store.query import QueryPart, QueryResult

ANNOUNCED_NS = 1_793_685_600 * NS_PER_S  # 2026-11-03T06:00:00Z


def listing_of(coin: str = "KITE", *, announced_ns: int = ANNOUNCED_NS, after_s: float = 3.0, notice_id: str = "6642",
               needs_body: bool = False) -> Listing:
    """Return a listing, detected some seconds after its announcement."""
    detected_ns = announced_ns + int(after_s * NS_PER_S)
    return Listing(source="upbit", notice_id=notice_id, symbol=coin, title=f"{coin} 신규 거래지원 안내",
                   announced_at_ns=announced_ns, detected_at_ns=detected_ns, triggered_at_ns=detected_ns,
                   needs_body=needs_body)


def catalogue_of_venues() -> Catalogue:
    """Return KITE on three venues (one of them 1000KITE futures), OTHER on one, and a venue with a pair in KRW."""
    catalogue = Catalogue()
    catalogue.add(("alpha", SPOT), Instrument(symbol="KITEUSDT", base="KITE", quote="USDT"))
    catalogue.add(("alpha", FUTURES), Instrument(symbol="1000KITEUSDT", base="1000KITE", quote="USDT", multiplier=1000))
    catalogue.add(("beta", SPOT), Instrument(symbol="KITE-USDT", base="KITE", quote="USDT"))
    catalogue.add(("alpha", SPOT), Instrument(symbol="OTHERUSDT", base="OTHER", quote="USDT"))
    catalogue.add(("gamma", SPOT), Instrument(symbol="KRW-KITE", base="KITE", quote="KRW"))
    return catalogue


def trades(instrument: int, *, jump_ms: float | None, jump: float = 1.2, rate: float = 20.0, price: float = 0.1,
           from_s: float = -30, to_s: float = 40, announced_ns: int = ANNOUNCED_NS, seed: int = 1) -> TradeBatch:
    """Return trades at `rate` a second whose price jumps by `jump`, `jump_ms` after the announcement (None: never)."""
    draw = np.random.default_rng(seed + instrument)
    rows = int((to_s - from_s) * rate)
    offset = np.sort(draw.uniform(from_s, to_s, rows)) * NS_PER_S
    timestamp = announced_ns + offset.astype(np.int64)
    level = price * (1 + draw.normal(0, 0.0003, rows))
    if jump_ms is not None:
        since = (timestamp - announced_ns - int(jump_ms * NS_PER_MS)) / NS_PER_S
        level = np.where(since >= 0, price * (1 + (jump - 1) * np.minimum(1, 0.2 + since / 5)), level)
    return TradeBatch(
        timestamp=timestamp, instrument=np.full(rows, instrument, np.int32), price=np.round(level, 8),
        quantity=np.round(draw.lognormal(3, 1, rows), 2), side=draw.integers(0, 2, rows).astype(np.uint8),
        trade_id=np.arange(1, rows + 1, dtype=np.int64), sequence_number=np.full(rows, NO_SEQUENCE, np.int64),
        received_at=timestamp + 5 * NS_PER_MS, flags=np.zeros(rows, np.uint8))


@dataclass
class Shelf:
    """A store of one batch; each entry of `trouble` is raised once, `asked` is its history."""

    batch: TradeBatch
    catalogue: Catalogue
    trouble: list[Exception] = field(default_factory=list)
    asked: list[tuple[str, int, int]] = field(default_factory=list)
    incomplete: int = 0  # so many answers have half of the trades and name a problem

    def query(self, coin: str, start_ns: int, end_ns: int) -> QueryResult:
        self.asked.append((coin, start_ns, end_ns))
        if self.trouble:
            raise self.trouble.pop(0)
        rows = np.isin(self.batch.instrument, self.catalogue.matching(coin)) & (self.batch.timestamp >= start_ns) \
            & (self.batch.timestamp < end_ns)
        found = self.batch.take(rows)
        if self.incomplete:
            self.incomplete -= 1
            found = found.take(slice(0, len(found) // 2))
            return QueryResult(found, [QueryPart("journal", len(found), 0.5, "a page is damaged")])
        return QueryResult(found, [QueryPart("recent", len(found), 1.25)])
