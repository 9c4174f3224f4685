"""Write the files of an archive: synced, with checksums, in short steps.

A thread that writes shares Python's lock with the hub. Encoding 100,000 trades in one call would hold the lock for longer than a
frame may wait, so columns are encoded CHUNK rows at a time.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from pumpwatch.catalogue import Catalogue
from pumpwatch.listing.manifest import FileRow
from pumpwatch.model import NO_SEQUENCE, SIDES, TradeBatch

CHUNK = 4000

# the columns of `trades` in a raw file: name -> function that returns the values of a few trades
COLUMNS: Mapping[str, Callable[[TradeBatch, Catalogue], list[Any]]] = {
    "timestamp": lambda trades, catalogue: trades.timestamp.tolist(),
    "symbol": lambda trades, catalogue: [catalogue.instruments[number].symbol for number in trades.instrument.tolist()],
    "side": lambda trades, catalogue: [SIDES[side] for side in trades.side.tolist()],
    "price": lambda trades, catalogue: trades.price.tolist(),
    "quantity": lambda trades, catalogue: trades.quantity.tolist(),
    "trade_id": lambda trades, catalogue: trades.id_texts(),
    "sequence_number": lambda trades, catalogue: [
        None if number == NO_SEQUENCE else number for number in trades.sequence_number.tolist()],
    "received_at": lambda trades, catalogue: trades.received_at.tolist(),
    "flags": lambda trades, catalogue: trades.flags.tolist(),
}


class ArchiveFiles:
    """The files of one archive folder. rows: size and checksum of each written file, by its path in the folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: dict[str, FileRow] = {}

    def write(self, name: str, pieces: Iterable[bytes]) -> None:
        """Write one file, such as `raw/binance/spot.json`, and sync it. Raises OSError."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        digest, size = hashlib.sha256(), 0
        with path.open("wb") as out:
            for piece in pieces:
                out.write(piece)
                digest.update(piece)
                size += len(piece)
            out.flush()
            os.fsync(out.fileno())
        self.rows[name] = FileRow(size, digest.hexdigest())

    def write_object(self, name: str, header: Mapping[str, Any], trades: Iterable[bytes] = ()) -> None:
        """Write one JSON object with one key per line: the header, then the pieces that `trades_object` yields."""
        self.write(name, _object(header, trades))


def _object(header: Mapping[str, Any], trades: Iterable[bytes]) -> Iterable[bytes]:
    for number, (key, value) in enumerate(header.items()):
        yield (b",\n" if number else b"{\n") + b'"%s": %s' % (key.encode(), msgspec.json.encode(value))
    yield from trades
    yield b"\n}\n"


def trades_object(trades: TradeBatch, catalogue: Catalogue) -> Iterable[bytes]:
    """Yield the key `trades` of a raw file: an object of columns of equal length."""
    chunks = [trades.take(slice(start, start + CHUNK)) for start in range(0, len(trades), CHUNK)]
    yield b',\n"trades": {'
    for number, (name, values) in enumerate(COLUMNS.items()):
        yield b'%s\n  "%s": [' % (b"," if number else b"", name.encode())
        for index, chunk in enumerate(chunks):
            yield (b"," if index else b"") + msgspec.json.encode(values(chunk, catalogue))[1:-1]
        yield b"]"
    yield b"\n}"
