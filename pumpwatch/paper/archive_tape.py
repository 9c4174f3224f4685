"""Make a tape from an archive, after every file of it was checked."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from pumpwatch.errors import StorageError
from pumpwatch.listing.archive import RAW_FORMAT, read_analysis
from pumpwatch.listing.archive_check import check_archive
from pumpwatch.listing.books import SUFFIX, VenueBooks, read_books
from pumpwatch.listing.manifest import FILE, FORMAT
from pumpwatch.model import NO_SEQUENCE, SIDES, Listing, TradeBatch
from pumpwatch.paper.fees import fees_of
from pumpwatch.paper.tape import Book, Market, Tape, make_tape

AGAIN = "make it again: pumpwatch listing replay COIN --at TIME"
NEWER = "a newer version wrote it: update PumpWatch"


class _Symbol(msgspec.Struct):
    symbol: str
    multiplier: int = 1


class _Trades(msgspec.Struct):
    timestamp: list[int]
    symbol: list[str]
    side: list[str]
    price: list[float | None]
    quantity: list[float | None]
    trade_id: list[str]
    received_at: list[int]
    flags: list[int]


class _Raw(msgspec.Struct):
    format: str
    exchange: str
    market_type: str
    symbols: list[_Symbol]
    window: list[tuple[int, int]]
    count: int
    trades: _Trades


def read_tape(archive: Path, venues: Collection[str] = ()) -> Tape:
    """Return the tape of an archive. venues: only these (`binance.spot`); empty: all.

    Raises UsageError for a missing folder, StorageError where the archive is damaged, has trades twice, or is of a newer
    version.
    """
    if archive.is_dir():
        _refuse_newer(archive)
    faults = check_archive(archive).faults
    if faults:
        more = f", and {len(faults) - 1} more" if len(faults) > 1 else ""
        raise StorageError(f"{archive}: the archive is damaged: {faults[0].file}: {faults[0].problem}{more}", AGAIN)
    markets: list[Market] = []
    parts: list[TradeBatch] = []
    ends: list[int] = []
    for path in sorted((archive / "raw").glob("*/*.json")):
        if path.name.endswith(SUFFIX):
            continue
        raw = _read(path)
        ends.append(raw.window[-1][1])
        if venues and f"{raw.exchange}.{raw.market_type}" not in venues:
            continue
        first = len(markets)
        markets += [market_of(raw.exchange, raw.market_type, row.symbol, row.multiplier) for row in raw.symbols]
        parts.append(_batch(raw, path, first))
    listing = first_listing(archive)
    return make_tape(listing, markets, range(len(markets)), TradeBatch.concat(parts), max(ends, default=listing.detected_at_ns),
                     books=tape_books(read_books(archive), markets), archive=str(archive))


def first_listing(archive: Path) -> Listing:
    """Return the listing of an archive that was announced first. Raises StorageError where it cannot be read."""
    try:
        found = [Listing(**row) for row in read_analysis(archive)["listings"]]
        return min(found, key=lambda listing: listing.announced_at_ns)
    except (KeyError, TypeError, ValueError) as error:
        raise StorageError(f"{archive}: the archive names no listing: {error}", AGAIN) from error


def market_of(exchange: str, market_type: str, symbol: str, multiplier: int) -> Market:
    """Return a market with its fees."""
    fees = fees_of(exchange, market_type)
    return Market(f"{exchange}.{market_type}", symbol, market_type, fees.maker, fees.taker, fees.most_leverage, multiplier)


def tape_books(books: Sequence[VenueBooks], markets: Sequence[Market]) -> dict[int, list[Book]]:
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


class _Format(msgspec.Struct):
    format: str = ""


def _refuse_newer(archive: Path) -> None:
    try:
        found = msgspec.json.decode((archive / FILE).read_bytes(), type=_Format).format
    except (OSError, msgspec.DecodeError):
        return  # the check says so
    if found != FORMAT:
        raise StorageError(f"{archive}: its manifest has the format {found!r:.60}, and this version reads {FORMAT}", NEWER)


def _read(path: Path) -> _Raw:
    try:
        content = path.read_bytes()
        found = msgspec.json.decode(content, type=_Format).format
        if found != RAW_FORMAT:
            raise StorageError(f"{path}: it has the format {found!r:.60}, and this version reads {RAW_FORMAT}",
                               NEWER if found > RAW_FORMAT else AGAIN)
        return msgspec.json.decode(content, type=_Raw)
    except (OSError, msgspec.DecodeError) as error:
        raise StorageError(f"{path}: the archive cannot be read: {error}", AGAIN) from error


def _batch(raw: _Raw, path: Path, first: int) -> TradeBatch:
    """Return the trades of a file; `first` is the place of its first symbol."""
    trades = raw.trades
    columns: list[list[Any]] = list(msgspec.structs.astuple(trades))
    if {len(column) for column in columns} - {raw.count}:
        raise StorageError(f"{path}: it says {raw.count:,} trades, and its columns have another length", AGAIN)
    # a venue without ids has texts that are equal for equal trades: their times tell them apart
    keys = set(zip(trades.symbol, trades.trade_id, trades.timestamp, strict=True))
    if len(keys) != raw.count:
        raise StorageError(f"{path}: {raw.count - len(keys):,} of its {raw.count:,} trades are there twice", AGAIN)
    places = {row.symbol: first + number for number, row in enumerate(raw.symbols)}
    try:
        instrument = np.array([places[symbol] for symbol in trades.symbol], np.int32)
        side = np.array([SIDES.index(side) for side in trades.side], np.uint8)
        return TradeBatch(np.array(trades.timestamp, np.int64), instrument, np.array(trades.price, np.float64),
                          np.array(trades.quantity, np.float64), side, np.arange(raw.count, dtype=np.int64),
                          np.full(raw.count, NO_SEQUENCE, np.int64), np.array(trades.received_at, np.int64),
                          np.array(trades.flags, np.uint8))
    except (KeyError, ValueError, OverflowError) as error:
        raise StorageError(f"{path}: a trade of it cannot be read: {error}", AGAIN) from error
