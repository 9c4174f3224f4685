"""A small archive of the simulated venues' symbols: some trades a venue, one second before the notice to one second after it."""

from __future__ import annotations

from array import array
from pathlib import Path

import numpy as np

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_MS, NS_PER_S
from pumpwatch.listing.archive import Archive, Pass, Span, write_archive
from pumpwatch.listing.books import Snapshot, VenueBooks
from pumpwatch.listing.notice_file import ShownSight
from pumpwatch.model import FUTURES, NO_SEQUENCE, Flag, Instrument, Listing, TradeBatch
from pumpwatch.sim.dialect import Coin, Dialect
from pumpwatch.sim.server import load_dialects
from pumpwatch.store.evidence import Evidence
from pumpwatch.store.query import QueryPart
from pumpwatch.store.sights import Sight

COIN = "SOMI"
ANNOUNCED_NS = 1_793_685_600 * NS_PER_S  # 2026-11-03T06:00:00Z
DETECTED_NS = ANNOUNCED_NS + 400 * NS_PER_MS
TITLE = "솜니아(SOMI) 신규 거래지원 안내 (KRW, BTC, USDT 마켓)"
COUNT = 40  # trades a venue
NO_IDS = "phemex"
UUIDS = ("bybit", FUTURES)


def dialects() -> list[Dialect]:
    """Return the dialects of all venues."""
    return [dialect for dialect in load_dialects() if isinstance(dialect, Dialect)]


def write(folder: Path, count: int = COUNT) -> Archive:
    """Write the archive into a folder."""
    catalogue, batches, books = Catalogue(), [], []
    for place, dialect in enumerate(dialects()):
        spec = dialect.symbols([Coin(COIN, 0.82)])[0]
        number = catalogue.add((dialect.exchange, dialect.market_type), Instrument(
            symbol=spec.symbol, base=spec.base, quote=spec.quote, contract_size=spec.contract_size))
        batches.append(_trades(dialect, number, spec.contract_size, count, place))
        levels = [array("d", side) for side in ([0.81, 0.8], [100.0 * spec.contract_size] * 2, [0.83, 0.84],
                                                [200.0 * spec.contract_size] * 2)]
        books.append(VenueBooks(dialect.exchange, dialect.market_type, [Snapshot(
            spec.symbol, ANNOUNCED_NS - 20, ANNOUNCED_NS - 10, ANNOUNCED_NS - 15, 77,
            (levels[0], levels[1], levels[2], levels[3]))]))
    listing = Listing(source="upbit", notice_id="7001", symbol=COIN, title=TITLE, announced_at_ns=ANNOUNCED_NS,
                      detected_at_ns=DETECTED_NS, triggered_at_ns=DETECTED_NS)
    span = Span(COIN, [listing], [(ANNOUNCED_NS - 20 * NS_PER_S, ANNOUNCED_NS + 20 * NS_PER_S)], seen=[
        _seen("upbit", "7001", "notice", TITLE, '{"uuid":"81234","category":"거래","body":"<p>KRW</p>"}'),
        _seen("upbit_markets", f"KRW-{COIN}", "market_opened", "KRW-SOMI: the market opened", f"KRW-{COIN}"),
        _seen("ownsignals", "3", "notice", "a source without a board", "")])
    return write_archive(folder, span, TradeBatch.concat(batches), catalogue, [QueryPart("recent", 1, 1.0)], [],
                         Pass(ANNOUNCED_NS + 600 * NS_PER_S, books=books))


def _seen(source: str, notice_id: str, kind: str, title: str, raw: str) -> ShownSight:
    sight = Sight(source, notice_id, COIN, "upbit", kind, DETECTED_NS, ANNOUNCED_NS, title, 0, 0, source, notice_id)
    return ShownSight(sight, (Evidence(source, notice_id, DETECTED_NS, "seen", {"raw": raw}),))


def _trades(dialect: Dialect, instrument: int, size: float, count: int, place: int) -> TradeBatch:
    """Return trades whose prices have four digits; every fourth shares time and sequence with the one before."""
    number = np.arange(count, dtype=np.int64)
    at = ANNOUNCED_NS - NS_PER_S + (number - number % 4 // 3) * (2 * NS_PER_S // count)
    price = np.round(0.8 + 0.0001 * (number * 7 % 50), 4)
    quantity = size * (1 + number % 9 + (0 if dialect.market_type == FUTURES else 0.25))
    trade_id = dialect.first_id + number
    sequence = trade_id - number % 4 // 3 if dialect.exchange in ("bybit", "kucoin", NO_IDS) else np.full(count, NO_SEQUENCE)
    sell = number % 3 == 0
    text_id = None
    if dialect.exchange == NO_IDS:
        text_id = np.array([f"{'S' if row % 3 == 0 else 'B'}{row}" for row in number.tolist()], "S12")
    elif (dialect.exchange, dialect.market_type) == UUIDS:
        text_id = np.array([f"24f864dc-0004-5400-8c00-{row:012d}" for row in number.tolist()], "S36")
    flags = np.where(number == count // 2, int(Flag.BACKFILLED), 0).astype(np.uint8)
    return TradeBatch(
        timestamp=at // NS_PER_MS * NS_PER_MS, instrument=np.full(count, instrument, np.int32), price=price, quantity=quantity,
        side=sell.astype(np.uint8), trade_id=trade_id, sequence_number=sequence.astype(np.int64),
        received_at=at + (5 + place) * NS_PER_MS + np.where(flags > 0, 3600 * NS_PER_S, 0), flags=flags, text_id=text_id)
