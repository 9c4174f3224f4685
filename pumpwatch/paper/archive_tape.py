"""Make a tape from an archive, after checking all of its files."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from pumpwatch.errors import StorageError
from pumpwatch.listing.archive import read_analysis
from pumpwatch.listing.archived_trades import REMAKE, ArchivedTrades, read_trades, require_whole, trade_files
from pumpwatch.listing.books import VenueBooks, read_books
from pumpwatch.model import NO_SEQUENCE, SIDES, Listing, TradeBatch
from pumpwatch.paper.fees import fees_of
from pumpwatch.paper.tape import Book, Tape, TapeMarket, make_tape


def read_tape(archive: Path, venues: Collection[str] = ()) -> Tape:
    """Return the tape of an archive. venues: only these (such as `binance.spot`); empty: all.

    Raises UsageError for a missing folder, StorageError if the archive is damaged, repeats trades, or is from a newer version.
    """
    require_whole(archive)
    markets: list[TapeMarket] = []
    parts: list[TradeBatch] = []
    ends: list[int] = []
    for path in trade_files(archive):
        raw = read_trades(path)
        ends.append(raw.window[-1][1])
        if venues and raw.venue not in venues:
            continue
        first = len(markets)
        markets += [market_of(raw.exchange, raw.market_type, row.symbol, row.multiplier) for row in raw.symbols]
        parts.append(_batch(raw, path, first))
    listing = first_listing(archive)
    return make_tape(listing, markets, range(len(markets)), TradeBatch.concat(parts), max(ends, default=listing.detected_at_ns),
                     books=tape_books(read_books(archive), markets), archive=str(archive))


def first_listing(archive: Path) -> Listing:
    """Return the listing of an archive that was announced first. Raises StorageError if it cannot be read."""
    try:
        found = [Listing(**row) for row in read_analysis(archive)["listings"]]
        return min(found, key=lambda listing: listing.announced_at_ns)
    except (KeyError, TypeError, ValueError) as error:
        raise StorageError(f"{archive}: the archive has no readable listing: {error}", REMAKE) from error


def market_of(exchange: str, market_type: str, symbol: str, multiplier: int) -> TapeMarket:
    """Return a market with its fees."""
    fees = fees_of(exchange, market_type)
    return TapeMarket(f"{exchange}.{market_type}", symbol, market_type, fees.maker, fees.taker, fees.most_leverage, multiplier)


def tape_books(books: Sequence[VenueBooks], markets: Sequence[TapeMarket]) -> dict[int, list[Book]]:
    """Return recorded order books by the place of their market."""
    places = {(market.venue, market.symbol): place for place, market in enumerate(markets)}
    found: dict[int, list[Book]] = {}
    for venue in books:
        for snapshot in venue.snapshots:
            place = places.get((f"{venue.exchange}.{venue.market_type}", snapshot.symbol))
            if place is not None:
                bids_p, bids_q, asks_p, asks_q = snapshot.levels
                found.setdefault(place, []).append(Book(snapshot.moment_ns, tuple(zip(bids_p, bids_q, strict=True)),
                                                        tuple(zip(asks_p, asks_q, strict=True))))
    return {place: sorted(rows, key=lambda book: book.at) for place, rows in sorted(found.items())}


def _batch(raw: ArchivedTrades, path: Path, first: int) -> TradeBatch:
    """Return the trades of a file. first: the place of its first symbol."""
    trades = raw.trades
    places = {row.symbol: first + number for number, row in enumerate(raw.symbols)}
    try:
        instrument = np.array([places[symbol] for symbol in trades.symbol], np.int32)
        side = np.array([SIDES.index(side) for side in trades.side], np.uint8)
        return TradeBatch(np.array(trades.timestamp, np.int64), instrument, np.array(trades.price, np.float64),
                          np.array(trades.quantity, np.float64), side, np.arange(raw.count, dtype=np.int64),
                          np.full(raw.count, NO_SEQUENCE, np.int64), np.array(trades.received_at, np.int64),
                          np.array(trades.flags, np.uint8))
    except (ValueError, OverflowError) as error:
        raise StorageError(f"{path}: it has an unreadable trade: {error}", REMAKE) from error
