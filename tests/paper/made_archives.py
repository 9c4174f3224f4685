"""Archives of a small market, written as the collector writes them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec

from pumpwatch.catalogue import Catalogue
from pumpwatch.listing.archive import Pass, Span, write_archive
from pumpwatch.listing.books import VenueBooks, snapshot_of
from pumpwatch.listing.manifest import FileRow, read_manifest, write_manifest
from pumpwatch.model import Instrument, TradeBatch
from pumpwatch.order_book import OrderBook
from tests.listing.tape import tape
from tests.paper.tapes import BUYS, LISTING, SELLS, T0, Row, ms

RISE: list[Row] = [(-500, 1.0, 900, BUYS), (300, 1.0, 50_000, BUYS), (500, 1.1, 50_000, BUYS), (5000, 1.3, 50_000, SELLS),
                   (9000, 1.2, 50_000, SELLS)]


def write(folder: Path, rows: list[Row] = RISE, *, listed: bool = True) -> Path:
    """Return a new archive with these trades of one spot market, and one order book that nobody reaches."""
    catalogue = Catalogue()
    number = catalogue.add(("binance", "spot"), Instrument(symbol="KITEUSDT" if listed else "OTHERUSDT",
                                                           base="KITE" if listed else "OTHER", quote="USDT"))
    book = OrderBook(bids=[(0.5, 10.0)], asks=[(2.0, 10.0)], at_ns=ms(-9000))
    books = [VenueBooks("binance", "spot", [snapshot_of("KITEUSDT", book, ms(-9001), ms(-8999))])] if listed else []
    span = Span("KITE", [LISTING], [(T0 - 10_000_000_000, T0 + 20_000_000_000)])
    batch = tape(number, rows) if rows else TradeBatch.empty()
    return write_archive(folder, span, batch, catalogue, [], [], Pass(T0 + 600_000_000_000, books=books)).path


def rewrite(archive: Path, name: str, **changes: Any) -> None:
    """Change keys of a file of an archive, and the manifest with it."""
    path = archive / name
    content = msgspec.json.encode(msgspec.json.decode(path.read_bytes()) | changes)
    path.write_bytes(content)
    manifest = read_manifest(archive)
    assert manifest is not None
    row = FileRow(len(content), hashlib.sha256(content).hexdigest())
    write_manifest(archive, msgspec.structs.replace(manifest, files=manifest.files | {name: row}))
