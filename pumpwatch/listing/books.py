"""Order books of a listing's window: snapshots in memory, and as a file of the archive, `raw/binance/spot_book.json`.

The file is one JSON object with one key per line: `format`, exchange, market_type, coin, `interval_s`, `levels` (maximum per
side), `count`, `failed`, and `problems`: the reasons for missing snapshots, each with its time and number. Then comes
`snapshots`, an object of columns of equal length, by time: symbol, asked_at and received_at (ns, our clock), timestamp (ns, the
venue's clock, or null), sequence (or null), and bid_price, bid_quantity, ask_price, ask_quantity, each a list per snapshot, best
level first. Quantities are in base units.

Order books are stored only in the archive, so rewriting an archive keeps its snapshots and adds new ones. The levels of a venue
are sent to the process that writes archives as one block of bytes: with an object for each column of each snapshot, half an hour
of books on twelve venues would block the hub four times as long.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from pickle import PickleBuffer
from typing import Any

import msgspec

from pumpwatch.listing.archive_files import ArchiveFiles
from pumpwatch.listing.manifest import BookGap, BookRow
from pumpwatch.order_book import LEVELS, OrderBook

FORMAT = "pumpwatch.book/1"
INTERVAL_S = 2.0  # between two snapshots of an instrument
CHUNK = 40  # snapshots encoded in one step
SUFFIX = "_book.json"
PROBLEMS = 20  # per venue; later ones are counted in the last one


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One book of one instrument. Times are ns; at_ns and sequence are as in `OrderBook`.

    levels: prices and quantities of the bids, then of the asks.
    """

    symbol: str
    asked_at_ns: int
    received_at_ns: int
    at_ns: int
    sequence: int
    levels: tuple[array[float], array[float], array[float], array[float]]

    @property
    def bytes(self) -> int:
        """Return roughly the bytes that it takes in memory."""
        return 600 + sum(8 * len(column) for column in self.levels)

    @property
    def moment_ns(self) -> int:
        """Return the time of the book: the venue's, else the middle between request and answer."""
        return self.at_ns or (self.asked_at_ns + self.received_at_ns) // 2


@dataclass(slots=True)
class BookProblem:
    """Missing snapshots: their time, their number, and the reason."""

    from_ns: int
    to_ns: int
    count: int
    reason: str


# symbol, asked_at_ns, received_at_ns, at_ns, sequence, and the lengths of the four columns
SnapshotRow = tuple[str, int, int, int, int, int, int, int, int]


@dataclass(slots=True)
class VenueBooks:
    """The books of a coin on one venue, by time, and the reasons for missing ones."""

    exchange: str
    market_type: str
    snapshots: list[Snapshot] = field(default_factory=list)
    problems: list[BookProblem] = field(default_factory=list)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as few objects; see the module."""
        rows, levels = self.packed()
        return unpacked, (self.exchange, self.market_type, rows, PickleBuffer(levels), self.problems)

    def packed(self) -> tuple[list[SnapshotRow], bytes]:
        """Return one row per snapshot, and all levels as one block of bytes; `unpacked` reverses it."""
        rows = [(snapshot.symbol, snapshot.asked_at_ns, snapshot.received_at_ns, snapshot.at_ns, snapshot.sequence,
                 *_lengths(snapshot)) for snapshot in self.snapshots]
        return rows, b"".join(column for snapshot in self.snapshots for column in snapshot.levels)

    @property
    def content(self) -> list[Any]:
        """Return plain data that identifies the books: a snapshot is identified by its symbol and its times."""
        return [self.exchange, self.market_type,
                [[snapshot.symbol, snapshot.asked_at_ns, snapshot.received_at_ns] for snapshot in self.snapshots],
                [asdict(problem) for problem in self.problems]]


def _lengths(snapshot: Snapshot) -> tuple[int, int, int, int]:
    bid_prices, bid_quantities, ask_prices, ask_quantities = map(len, snapshot.levels)
    return bid_prices, bid_quantities, ask_prices, ask_quantities


def unpacked(exchange: str, market_type: str, rows: Sequence[SnapshotRow], levels: bytes | bytearray,
             problems: list[BookProblem]) -> VenueBooks:
    """Reverse `VenueBooks.packed`. Raises ValueError if the levels are not numbers."""
    values = array("d")
    values.frombytes(levels)
    books, place = VenueBooks(exchange, market_type, [], problems), 0
    for symbol, asked_at_ns, received_at_ns, at_ns, sequence, *lengths in rows:
        columns = []
        for length in lengths:
            columns.append(values[place:place + length])
            place += length
        books.snapshots.append(Snapshot(symbol, asked_at_ns, received_at_ns, at_ns, sequence,
                                        (columns[0], columns[1], columns[2], columns[3])))
    return books


class Misses:
    """The missing snapshots of a venue: when each was due, when it was given up, and the reason."""

    def __init__(self) -> None:
        self._runs: list[tuple[str, array[int], array[int]]] = []  # reason, due times, times of giving up

    def __bool__(self) -> bool:
        return bool(self._runs)

    def add(self, due_ns: int, gone_ns: int, reason: str) -> None:
        """Count one missing snapshot."""
        if not self._runs or (self._runs[-1][0] != reason and len(self._runs) < PROBLEMS):
            self._runs.append((reason, array("q"), array("q")))
        self._runs[-1][1].append(due_ns)
        self._runs[-1][2].append(gone_ns)

    def within(self, intervals: Sequence[tuple[int, int]]) -> list[BookProblem]:
        """Return the misses due in these [from, to) in ns; consecutive ones with the same reason are one problem."""
        problems = []
        for reason, due, gone in self._runs:
            places = [(first, last) for start, end in intervals
                      if (first := bisect_left(due, start)) < (last := bisect_left(due, end))]
            if places:
                problems.append(BookProblem(due[places[0][0]], gone[places[-1][1] - 1],
                                            sum(last - first for first, last in places), reason))
        return problems


def snapshot_of(symbol: str, book: OrderBook, asked_at_ns: int, received_at_ns: int) -> Snapshot:
    """Return a book as a snapshot."""
    bids, asks = ([array("d", column) for column in zip(*side, strict=True)] or [array("d"), array("d")]
                  for side in (book.bids, book.asks))
    return Snapshot(symbol, asked_at_ns, received_at_ns, book.at_ns, book.sequence, (bids[0], bids[1], asks[0], asks[1]))


def join_books(*parts: Iterable[VenueBooks]) -> list[VenueBooks]:
    """Return one entry per venue, by name, without duplicate snapshots. Of two versions of a problem the larger one counts."""
    joined: dict[tuple[str, str], tuple[dict[tuple[int, str], Snapshot], dict[tuple[int, str], BookProblem]]] = {}
    for books in (books for part in parts for books in part):
        snapshots, problems = joined.setdefault((books.exchange, books.market_type), ({}, {}))
        snapshots.update(((snapshot.asked_at_ns, snapshot.symbol), snapshot) for snapshot in books.snapshots)
        for problem in books.problems:
            before = problems.get((problem.from_ns, problem.reason))
            if before is None or before.count < problem.count:
                problems[problem.from_ns, problem.reason] = problem
    return [VenueBooks(*venue, [snapshots[key] for key in sorted(snapshots)], [problems[key] for key in sorted(problems)])
            for venue, (snapshots, problems) in sorted(joined.items())]


def write_books(files: ArchiveFiles, books: Iterable[VenueBooks], coin: str) -> tuple[BookRow, ...]:
    """Write a file for each venue with snapshots, and return a row for each venue. Raises OSError."""
    rows = []
    for venue in books:
        if venue.snapshots:
            files.write_object(f"raw/{venue.exchange}/{venue.market_type}{SUFFIX}", book_header(venue, coin),
                               snapshots_object(venue.snapshots))
        first_ns, last_ns = (venue.snapshots[place].asked_at_ns if venue.snapshots else None for place in (0, -1))
        rows.append(BookRow(venue.exchange, venue.market_type, len(venue.snapshots), sum(row.count for row in venue.problems),
                            first_ns, last_ns, tuple(BookGap(row.from_ns, row.to_ns, row.count, row.reason)
                                                     for row in venue.problems)))
    return tuple(rows)


def book_header(books: VenueBooks, coin: str) -> dict[str, Any]:
    """Return the keys of a venue's file that come before `snapshots`."""
    return {"format": FORMAT, "exchange": books.exchange, "market_type": books.market_type, "coin": coin,
            "interval_s": INTERVAL_S, "levels": LEVELS, "count": len(books.snapshots),
            "failed": sum(problem.count for problem in books.problems),
            "problems": [asdict(problem) for problem in books.problems]}


# the columns of `snapshots` in a file: name -> function that returns the value of a snapshot
COLUMNS: Mapping[str, Callable[[Snapshot], Any]] = {
    "symbol": lambda snapshot: snapshot.symbol,
    "asked_at": lambda snapshot: snapshot.asked_at_ns,
    "received_at": lambda snapshot: snapshot.received_at_ns,
    "timestamp": lambda snapshot: snapshot.at_ns or None,
    "sequence": lambda snapshot: None if snapshot.sequence < 0 else snapshot.sequence,
    "bid_price": lambda snapshot: snapshot.levels[0].tolist(),
    "bid_quantity": lambda snapshot: snapshot.levels[1].tolist(),
    "ask_price": lambda snapshot: snapshot.levels[2].tolist(),
    "ask_quantity": lambda snapshot: snapshot.levels[3].tolist(),
}


def snapshots_object(snapshots: Sequence[Snapshot]) -> Iterator[bytes]:
    """Yield the key `snapshots` of a venue's file, CHUNK snapshots at a time."""
    yield b',\n"snapshots": {'
    for number, (name, values) in enumerate(COLUMNS.items()):
        yield b'%s\n  "%s": [' % (b"," if number else b"", name.encode())
        for start in range(0, len(snapshots), CHUNK):
            rows = [values(snapshot) for snapshot in snapshots[start:start + CHUNK]]
            yield (b"," if start else b"") + msgspec.json.encode(rows)[1:-1]
        yield b"]"
    yield b"\n}"


class _Columns(msgspec.Struct):
    symbol: list[str]
    asked_at: list[int]
    received_at: list[int]
    timestamp: list[int | None]
    sequence: list[int | None]
    bid_price: list[list[float]]
    bid_quantity: list[list[float]]
    ask_price: list[list[float]]
    ask_quantity: list[list[float]]


class _File(msgspec.Struct):
    format: str
    exchange: str
    market_type: str
    problems: list[BookProblem]
    snapshots: _Columns


def snapshots_of(books: Iterable[VenueBooks]) -> dict[tuple[str, str, str], list[Snapshot]]:
    """Return the snapshots of each instrument, by exchange, market type and symbol."""
    found: dict[tuple[str, str, str], list[Snapshot]] = {}
    for venue in books:
        for snapshot in venue.snapshots:
            found.setdefault((venue.exchange, venue.market_type, snapshot.symbol), []).append(snapshot)
    return found


def read_books(archive: Path, rows: Iterable[BookRow] = ()) -> list[VenueBooks]:
    """Return the books of an archive by venue; unreadable files are skipped.

    rows: of its manifest, which has the problems of venues without a file too.
    """
    found = [VenueBooks(row.exchange, row.market_type, [], [BookProblem(*msgspec.structs.astuple(gap)) for gap in row.problems])
             for row in rows]
    for path in sorted(archive.glob(f"raw/*/*{SUFFIX}")):
        try:
            file = msgspec.json.decode(path.read_bytes(), type=_File)
            columns = msgspec.structs.astuple(file.snapshots)
            snapshots = [Snapshot(symbol, asked, received, at or 0, -1 if sequence is None else sequence,
                                  (array("d", sides[0]), array("d", sides[1]), array("d", sides[2]), array("d", sides[3])))
                         for symbol, asked, received, at, sequence, *sides in zip(*columns, strict=True)]
        except (OSError, msgspec.DecodeError, ValueError):
            continue
        if file.format == FORMAT:
            found.append(VenueBooks(file.exchange, file.market_type, snapshots, file.problems))
    return found
