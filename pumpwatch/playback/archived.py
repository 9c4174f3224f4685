"""Read an archive for playback: the trades of each venue, its order books, and the notices.

An archive that differs from its manifest is not served: every fault is an error before the first port is opened.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from pumpwatch.errors import StorageError, UsageError
from pumpwatch.listing.archive import NOTICE
from pumpwatch.listing.archived_trades import REMAKE, ArchivedTrades, decode_file, read_trades, require_whole, trade_files
from pumpwatch.listing.books import Snapshot, read_books
from pumpwatch.listing.manifest import SymbolRow
from pumpwatch.model import NO_SEQUENCE, Flag, Float64, Int64

LARGEST_NUMBER = 2**63 - 1  # larger ids are kept as words
NO_NUMBER = -1
LAG_LIMIT_NS = 60 * 10**9  # a trade that arrived so much later, or earlier, than it happened did not arrive live


class _Sight(msgspec.Struct):
    source: str
    notice_id: str
    kind: str
    title: str
    published_at_ns: int
    seen_at_ns: int
    shown: list[dict[str, Any]] = []


class _Notices(msgspec.Struct):
    sights: list[_Sight] = []


@dataclass(frozen=True, slots=True)
class ArchivedVenue:
    """The trades of one venue in the order of their arrival: columns of one length. Times are ns, quantities base units.

    number: the id as a number, NO_NUMBER where it is a word. arrived_at: when the trade came; for one that was fetched later, its
    time and the usual delay of the venue. sequence: NO_SEQUENCE without one.
    left_out: trades without a usable price or quantity.
    """

    name: str  # `binance.spot`
    symbols: tuple[SymbolRow, ...]
    symbol: list[str]
    trade_id: list[str]
    number: Int64
    timestamp: Int64
    arrived_at: Int64
    price: Float64
    quantity: Float64
    sell: Any
    flags: Int64
    sequence: Int64
    books: tuple[Snapshot, ...]
    left_out: int

    def __len__(self) -> int:
        return len(self.symbol)


@dataclass(frozen=True, slots=True)
class ArchivedNotice:
    """A notice as a source showed it, or a market that a list showed. published_at_ns: as the board gives it; 0: not given."""

    source: str
    notice_id: str
    kind: str
    title: str
    published_at_ns: int
    seen_at_ns: int
    body: str
    category: str
    uuid: str


@dataclass(frozen=True, slots=True)
class Archived:
    """A whole archive. announced_at_ns: of its first listing."""

    path: Path
    coin: str
    announced_at_ns: int
    venues: tuple[ArchivedVenue, ...]
    notices: tuple[ArchivedNotice, ...]

    @property
    def trades(self) -> int:
        """Return the number of trades of all venues."""
        return sum(map(len, self.venues))


def read_archived(path: Path) -> Archived:
    """Read an archive. Blocks. Raises UsageError for a folder that is missing, StorageError for one that is damaged or newer."""
    require_whole(path)
    books = {f"{books.exchange}.{books.market_type}": books.snapshots for books in read_books(path)}
    raws = [read_trades(file) for file in trade_files(path)]
    if not raws:
        raise StorageError(f"{path}: the archive has no trades of a venue", REMAKE)
    venues = [_venue(raw, tuple(books.get(raw.venue, ()))) for raw in raws]
    notices = decode_file(path / NOTICE, _Notices).sights if (path / NOTICE).is_file() else []
    return Archived(path, raws[0].coin, min(raw.announced_at_ns for raw in raws), tuple(venues),
                    tuple(_notice(sight) for sight in sorted(notices, key=lambda sight: sight.seen_at_ns)))


def _venue(raw: ArchivedTrades, books: tuple[Snapshot, ...]) -> ArchivedVenue:
    columns = raw.trades
    timestamp, received_at = np.array(columns.timestamp, np.int64), np.array(columns.received_at, np.int64)
    flags = np.array(columns.flags, np.int64)
    price, quantity = np.array(columns.price, np.float64), np.array(columns.quantity, np.float64)
    usable = np.isfinite(price) & (price > 0) & np.isfinite(quantity) & (quantity > 0)
    lag = received_at - timestamp
    live = (flags & Flag.BACKFILLED == 0) & (np.abs(lag) <= LAG_LIMIT_NS)
    usual = int(np.median(lag[live & usable])) if (live & usable).any() else 0
    arrived = np.where(live, received_at, timestamp + usual)
    sequence = np.array([NO_SEQUENCE if number is None else number for number in columns.sequence_number], np.int64)
    number = np.array([int(text) if text.isdecimal() and int(text) <= LARGEST_NUMBER else NO_NUMBER
                       for text in columns.trade_id], np.int64)
    order = np.lexsort((number, timestamp, sequence, arrived))
    order = order[usable[order]]
    picked = order.tolist()
    return ArchivedVenue(
        name=raw.venue, symbols=tuple(raw.symbols), symbol=[columns.symbol[row] for row in picked],
        trade_id=[columns.trade_id[row] for row in picked], number=number[order],
        timestamp=timestamp[order], arrived_at=arrived[order],
        price=price[order], quantity=quantity[order], sell=np.array([columns.side[row] == "sell" for row in picked], np.bool_),
        flags=flags[order], sequence=sequence[order], books=books, left_out=int((~usable).sum()))


def _notice(sight: _Sight) -> ArchivedNotice:
    """Return a sight with the parts of its notice that its raw text has."""
    raw: dict[str, Any] = {}
    body = ""
    for shown in sight.shown:
        body = shown.get("text") or body
        try:
            row = msgspec.json.decode(str(shown.get("raw")))
        except msgspec.DecodeError:
            continue
        if isinstance(row, dict):
            raw = raw | row
    return ArchivedNotice(sight.source, sight.notice_id, sight.kind, sight.title, sight.published_at_ns, sight.seen_at_ns,
                          str(raw.get("body") or body or ""), str(raw.get("category") or ""), str(raw.get("uuid") or ""))


def first_event_ns(archived: Archived) -> int:
    """Return when the archive's first trade arrived; its announcement where it has none. Raises UsageError without either."""
    firsts = [int(venue.arrived_at[0]) for venue in archived.venues if len(venue)]
    if not firsts and not archived.announced_at_ns:
        raise UsageError(f"{archived.path}: the archive has neither a trade nor an announcement")
    return min(firsts, default=archived.announced_at_ns)
