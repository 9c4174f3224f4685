"""A member's part of a listing's window as bytes: facts as MessagePack, trades as the journal stores them.

    magic, length of the facts, facts (zstd), then each batch of trades with its length

A damaged part raises StorageError and is never misread: the trades have checksums, and the types of the facts are checked.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import zstandard

from pumpwatch.catalogue import VenueKey
from pumpwatch.errors import StorageError
from pumpwatch.listing.books import BookProblem, SnapshotRow, VenueBooks, unpacked
from pumpwatch.listing.notice_file import ShownSight
from pumpwatch.model import Gap, Instrument, Listing, TradeBatch
from pumpwatch.store.codec import BatchDecoder, BatchEncoder, grouped, split
from pumpwatch.store.query import QueryPart

MAGIC = b"PWPART1\n"
ROWS = 20_000  # of one batch
FACTS_MAX = 256 << 20  # bytes, uncompressed
_LENGTH = struct.Struct("<Q")

Interval = tuple[int, int]


class Reading(msgspec.Struct, frozen=True):
    """The times, as [from, to) in ns, in which a member read a symbol."""

    exchange: str
    market_type: str
    symbol: str
    spans: tuple[Interval, ...]


class PartFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A part without its trades and books. instruments: the batch's instrument ids are positions in it.

    reads: the symbols of the coin that the member read, and when; None: it read all that it knows, except in gaps.
    """

    member: str
    made_at_ns: int
    coin: str
    listings: tuple[Listing, ...]
    intervals: tuple[Interval, ...]
    instruments: tuple[tuple[VenueKey, Instrument], ...]
    final: bool = False
    late: bool = False
    seen: tuple[ShownSight, ...] = ()
    gaps: tuple[Gap, ...] = ()
    sources: tuple[QueryPart, ...] = ()
    unlisted: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    reads: tuple[Reading, ...] | None = None


class _PackedBooks(msgspec.Struct, frozen=True, array_like=True):
    exchange: str
    market_type: str
    rows: list[SnapshotRow]
    levels: bytes
    problems: list[BookProblem]


class _Stored(msgspec.Struct, frozen=True):
    facts: PartFacts
    books: list[_PackedBooks]


@dataclass(frozen=True, slots=True)
class WindowPart:
    """One member's part of a window. The batch's instrument ids are positions in `facts.instruments`."""

    facts: PartFacts
    batch: TradeBatch
    books: Sequence[VenueBooks] = ()


def encode_part(part: WindowPart) -> bytes:
    """Return a part as bytes. It takes about 0.2 us per trade, so call it in a thread."""
    books = [_PackedBooks(books.exchange, books.market_type, *books.packed(), books.problems) for books in part.books]
    facts = zstandard.ZstdCompressor(level=1).compress(msgspec.msgpack.encode(_Stored(part.facts, books)))
    pieces, encoder = [MAGIC, _LENGTH.pack(len(facts)), facts], BatchEncoder()
    for batch in split(grouped(part.batch), ROWS):
        blob = encoder.encode(batch)
        pieces += [_LENGTH.pack(len(blob)), blob]
    return b"".join(pieces)


def decode_part(content: bytes) -> WindowPart:
    """Decode a part. Raises StorageError."""
    if not content.startswith(MAGIC):
        raise StorageError("a member's part has an unknown format", "run the same version on all members")
    try:
        facts, at = _piece(content, len(MAGIC))
        stored = msgspec.msgpack.decode(zstandard.ZstdDecompressor().decompress(facts, max_output_size=FACTS_MAX), type=_Stored)
        batches, decoder = [], BatchDecoder()
        while at < len(content):
            blob, at = _piece(content, at)
            batches.append(decoder.decode(blob))
        books = [unpacked(row.exchange, row.market_type, row.rows, row.levels, row.problems) for row in stored.books]
    except (msgspec.DecodeError, zstandard.ZstdError, struct.error, ValueError) as error:
        raise StorageError(f"a member's part cannot be read: {error}", "run the same version on all members") from error
    batch = TradeBatch.concat(batches)
    if len(batch) and not 0 <= int(batch.instrument.min()) <= int(batch.instrument.max()) < len(stored.facts.instruments):
        raise StorageError("a member's part refers to instruments that it does not contain")
    return WindowPart(stored.facts, batch, books)


def _piece(content: bytes, at: int) -> tuple[bytes, int]:
    (length,) = _LENGTH.unpack_from(content, at)
    start, end = at + _LENGTH.size, at + _LENGTH.size + length
    if end > len(content):
        raise ValueError("it is cut off")
    return content[start:end], end
