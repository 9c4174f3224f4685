"""Read an archive for playback: the trades of each venue, its order books, and the notices.

Nothing is served of an archive that differs from its manifest: every fault is an error before the first port is open.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from pumpwatch.errors import StorageError, UsageError
from pumpwatch.listing.archive import NOTICE, RAW_FORMAT
from pumpwatch.listing.archive_check import check_archive
from pumpwatch.listing.books import SUFFIX, Snapshot, read_books
from pumpwatch.listing.manifest import FILE, FORMAT, SymbolRow
from pumpwatch.model import NO_SEQUENCE, Flag, Float64, Int64

SHOWN_FAULTS = 3
LARGEST_NUMBER = 2**63 - 1  # larger ids are kept as words
NO_NUMBER = -1
LAG_LIMIT_NS = 60 * 10**9  # a trade that arrived so much later, or earlier, than it happened did not arrive live
REMAKE = "make it again: pumpwatch listing replay COIN --at TIME"


class _Format(msgspec.Struct):
    format: str = ""


class _Trades(msgspec.Struct):
    timestamp: list[int]
    symbol: list[str]
    side: list[str]
    price: list[float | None]
    quantity: list[float | None]
    trade_id: list[str]
    sequence_number: list[int | None]
    received_at: list[int]
    flags: list[int]


class _Raw(msgspec.Struct):
    exchange: str
    market_type: str
    coin: str
    announced_at_ns: int
    symbols: list[SymbolRow]
    count: int
    trades: _Trades


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
    time and the usual delay of the venue. sequence: NO_SEQUENCE where there is none.
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
    _verify(path)
    books = {f"{books.exchange}.{books.market_type}": books.snapshots for books in read_books(path)}
    raws = [_read(file, _Raw) for file in sorted((path / "raw").glob("*/*.json")) if not file.name.endswith(SUFFIX)]
    if not raws:
        raise StorageError(f"{path}: the archive has no trades of a venue", REMAKE)
    venues = [_venue(path, raw, tuple(books.get(f"{raw.exchange}.{raw.market_type}", ()))) for raw in raws]
    notices = _read(path / NOTICE, _Notices).sights if (path / NOTICE).is_file() else []
    return Archived(path, raws[0].coin, min(raw.announced_at_ns for raw in raws), tuple(venues),
                    tuple(_notice(sight) for sight in sorted(notices, key=lambda sight: sight.seen_at_ns)))


def _verify(path: Path) -> None:
    """Raise the error that says best why this folder is not an archive that can be played."""
    if (path / FILE).is_file():
        found = _read(path / FILE, _Format).format
        if found != FORMAT:
            raise StorageError(f"{path / FILE}: unknown format `{found}`; this version reads {FORMAT}",
                               "a newer PumpWatch wrote it: update this one")
    faults = check_archive(path).faults
    if faults:
        more = f", and {len(faults) - SHOWN_FAULTS:,} more" if len(faults) > SHOWN_FAULTS else ""
        shown = "; ".join(f"{fault.file}: {fault.problem}" for fault in faults[:SHOWN_FAULTS])
        raise StorageError(f"{path}: the archive differs from its manifest: {shown}{more}",
                           f"copy it again, or {REMAKE}")


def _read(file: Path, kind: type[Any]) -> Any:
    """Return a file's content. Raises StorageError that names the file."""
    try:
        content = file.read_bytes()
        found = msgspec.json.decode(content, type=_Format).format
        if kind is _Raw and found != RAW_FORMAT:
            raise StorageError(f"{file}: unknown format `{found}`; this version plays {RAW_FORMAT}",
                               f"update PumpWatch if the archive is newer, or {REMAKE}")
        return msgspec.json.decode(content, type=kind)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StorageError(f"{file}: the archive cannot be read: {error}", REMAKE) from error


def _venue(path: Path, raw: _Raw, books: tuple[Snapshot, ...]) -> ArchivedVenue:
    name, columns = f"{raw.exchange}.{raw.market_type}", raw.trades
    lengths = {len(column) for column in msgspec.structs.astuple(columns)}
    if lengths != {raw.count}:
        counts = ", ".join(map(str, sorted(lengths)))
        raise StorageError(f"{path}: {name} has columns of {counts} trades, not {raw.count}", REMAKE)
    listed = {row.symbol for row in raw.symbols}
    if unlisted := set(columns.symbol) - listed:
        raise StorageError(f"{path}: {name} has trades of {', '.join(sorted(unlisted))}, which it does not list", REMAKE)
    if len(listed) < len(raw.symbols) or _doubled(columns):
        raise StorageError(f"{path}: {name} has trades or symbols twice", REMAKE)
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
        name=name, symbols=tuple(raw.symbols), symbol=[columns.symbol[row] for row in picked],
        trade_id=[columns.trade_id[row] for row in picked], number=number[order],
        timestamp=timestamp[order], arrived_at=arrived[order],
        price=price[order], quantity=quantity[order], sell=np.array([columns.side[row] == "sell" for row in picked], np.bool_),
        flags=flags[order], sequence=sequence[order], books=books, left_out=int((~usable).sum()))


def _doubled(columns: _Trades) -> bool:
    """Return whether a trade is there twice. Where the venue has no ids, the recorded ones tell equal trades apart."""
    keys = zip(columns.symbol, columns.trade_id, columns.timestamp, strict=True)
    return len(set(keys)) < len(columns.symbol)


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
