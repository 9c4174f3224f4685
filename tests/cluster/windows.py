"""Windows of a listing as several members have them, for tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pumpwatch.clock import NS_PER_S
from pumpwatch.cluster.part_codec import Interval, PartFacts, Reading, WindowPart
from pumpwatch.listing.books import VenueBooks, snapshot_of
from pumpwatch.listing.notice_file import ShownSight
from pumpwatch.model import Gap, Listing, TradeBatch
from pumpwatch.order_book import OrderBook
from pumpwatch.store.evidence import SEEN, Evidence
from pumpwatch.store.query import QueryPart
from pumpwatch.store.sights import Sight
from tests.listing.market import ANNOUNCED_NS, catalogue_of_venues, listing_of, trades

START_NS, END_NS = ANNOUNCED_NS - 20 * NS_PER_S, ANNOUNCED_NS + 23 * NS_PER_S
CATALOGUE = catalogue_of_venues()
KITE = CATALOGUE.matching("KITE")  # alpha spot, alpha futures, beta spot


def sight_of(listing: Listing, member: str = "a") -> ShownSight:
    return ShownSight(Sight(listing.source, listing.notice_id, listing.symbol, listing.board, listing.kind,
                            listing.detected_at_ns, listing.announced_at_ns, listing.title, 0, 0, listing.source,
                            listing.notice_id, member),
                      (Evidence(listing.source, listing.notice_id, listing.detected_at_ns, SEEN, {"raw": "{}", "answer": None}),))


def reading(number: int, *spans: Interval) -> Reading:
    """Return that an instrument was read: all the time where no span is given."""
    return Reading(*CATALOGUE.venues[number], CATALOGUE.instruments[number].symbol, spans or ((0, 2**62),))


def part_of(member: str, numbers: Sequence[int], *, reads: Sequence[Reading] | None = None, gaps: Sequence[Gap] = (),
            listing: Listing | None = None, batch: TradeBatch | None = None, received_ms: int = 0) -> WindowPart:
    """Return the part of a member that read these instruments, which are places in CATALOGUE."""
    listing = listing or listing_of()
    if batch is None:
        batch = TradeBatch.concat([trades(number, jump_ms=300) for number in numbers])
    batch = replace(batch, received_at=batch.received_at + received_ms * 1_000_000)
    facts = PartFacts(
        member=member, made_at_ns=END_NS, coin="KITE", listings=(listing,), intervals=((START_NS, END_NS),),
        instruments=tuple(zip(CATALOGUE.venues, CATALOGUE.instruments, strict=True)), gaps=tuple(gaps),
        seen=(sight_of(listing, member),),
        sources=(QueryPart("recent", len(batch), 1.0),),
        reads=tuple(reading(number) for number in numbers) if reads is None else tuple(reads))
    book = OrderBook(bids=[(0.09, 1.0)], asks=[(0.1, 1e6), (0.11, 2.0)])
    books = [VenueBooks(*CATALOGUE.venues[number],
                        [snapshot_of(CATALOGUE.instruments[number].symbol, book, START_NS, START_NS + 2)]) for number in numbers]
    return WindowPart(facts, batch, books)


def gap_of(number: int, from_s: float, to_s: float, **changes: object) -> Gap:
    """Return a gap of an instrument, in seconds after the announcement."""
    exchange, market_type = CATALOGUE.venues[number]
    fields = {"exchange": exchange, "market_type": market_type, "from_ns": ANNOUNCED_NS + int(from_s * NS_PER_S),
              "to_ns": ANNOUNCED_NS + int(to_s * NS_PER_S), "reason": "connection lost",
              "symbol": CATALOGUE.instruments[number].symbol} | changes
    return Gap(**fields)  # type: ignore[arg-type]


def rows_of(batch: TradeBatch) -> set[tuple[int, int, int]]:
    """Return (instrument, trade id, timestamp) of each trade."""
    return set(zip(batch.instrument.tolist(), batch.trade_id.tolist(), batch.timestamp.tolist(), strict=True))


def same_rows(one: TradeBatch, other: TradeBatch) -> bool:
    """Return whether two batches have the same trades, in any order."""
    orders = [np.lexsort((batch.trade_id, batch.instrument, batch.timestamp)) for batch in (one, other)]
    columns = [[column for column in batch.take(order).columns() if column is not None]
               for batch, order in zip((one, other), orders, strict=True)]
    return all(np.array_equal(left, right) for left, right in zip(*columns, strict=True))
