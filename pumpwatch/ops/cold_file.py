"""Days of a sink as Parquet files, each checked by the number and checksum of its trades.

The check reads the whole file in a separate process, so that it blocks nothing else. It needs the extra `parquet`.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Protocol

import msgspec
import numpy as np

from pumpwatch.descriptors import close_now
from pumpwatch.errors import StorageError
from pumpwatch.model import TradeBatch
from pumpwatch.notify.child import run_child
from pumpwatch.store.minutes import CHECKSUM_MASK, checksums
from pumpwatch.store.sqlite import make_private, private_folder, storage_error

PROGRAM = "from pumpwatch.ops.cold_file import main; main()"
CHECK_S = 1800.0
ROWS = 100_000  # read at a time
PIECE_BYTES = 1 << 20
PARTIAL = ".partial"


class ColdFile(msgspec.Struct, frozen=True):
    """A file of one day, and its facts. sha256 and size_bytes are those of the Parquet file."""

    name: str
    trades: int
    checksum: int
    sha256: str
    size_bytes: int


class ColdTarget(Protocol):
    """A place for files of days."""

    def held(self, name: str) -> ColdFile | None:
        """Return the facts of a stored file; None if it is not stored."""

    def store(self, name: str, trades: int, checksum: int, write: Callable[[BinaryIO], None]) -> ColdFile:
        """Write a file, check that it holds these trades, and keep it durably. Raises StorageError."""


class ColdFolder:
    """A folder of this machine: `SINK/DAY.parquet`, and `SINK/DAY.json` with its facts. The methods block."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def held(self, name: str) -> ColdFile | None:
        """Return the facts of a file that exists in its full size; else None."""
        path = self._folder / f"{name}.parquet"
        try:
            found = msgspec.json.decode(path.with_suffix(".json").read_bytes(), type=ColdFile)
            return found if path.stat().st_size == found.size_bytes else None
        except (OSError, msgspec.DecodeError):
            return None

    def store(self, name: str, trades: int, checksum: int, write: Callable[[BinaryIO], None]) -> ColdFile:
        """Write the file next to its place, check it, and move it there."""
        path = self._folder / f"{name}.parquet"
        partial = path.with_name(f".{path.name}{PARTIAL}")
        try:
            private_folder(path.parent)
            make_private(partial)
            try:
                with partial.open("wb") as file:
                    write(file)
                    file.flush()
                    os.fsync(file.fileno())
                found = _checked(partial, name)
                if (found.trades, found.checksum) != (trades, checksum):
                    raise StorageError(f"{path}: the copy has {found.trades:,} trades with checksum {found.checksum}, and the"
                                       f" sink has {trades:,} with {checksum}", "nothing was removed; the copy is written again")
                facts = partial.with_suffix(".facts")
                facts.write_bytes(msgspec.json.encode(found))
                partial.replace(path)
                facts.replace(path.with_suffix(".json"))
                _sync(path.parent)
            finally:
                partial.unlink(missing_ok=True)
        except OSError as error:
            raise storage_error(path, "write", error) from error
        return found


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        close_now(handle)


def _checked(path: Path, name: str) -> ColdFile:
    """Return the facts of a file, read in a separate process. Raises StorageError if it cannot be read."""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    ended = run_child([sys.executable, "-P", "-c", PROGRAM, str(path), name], b"", CHECK_S, environ)
    try:
        if ended.code != 0:
            raise ValueError(ended.output.decode("utf-8", "replace").strip().splitlines()[-1:] or "no answer")
        return msgspec.json.decode(ended.output.splitlines()[-1], type=ColdFile)
    except (ValueError, IndexError) as error:
        raise StorageError(f"{path}: the copy cannot be checked: {error}",
                           "install the extra `parquet` if it is missing: pip install 'pumpwatch[parquet]'") from error


def facts_of(path: Path, name: str) -> ColdFile:
    """Return the facts of a Parquet file of trades, which is read completely. Raises ValueError or OSError."""
    import pyarrow.parquet

    trades, checksum = 0, 0
    columns = ["timestamp", "price", "quantity", "trade_id"]
    with pyarrow.parquet.ParquetFile(path) as file:
        for rows in file.iter_batches(ROWS, columns=columns):
            times = rows.column(0).cast(pyarrow.int64()).to_numpy(zero_copy_only=False)
            price, quantity = (np.nan_to_num(rows.column(at).to_numpy(zero_copy_only=False), nan=0.0) for at in (1, 2))
            batch = _batch(times, price, quantity, rows.column(3).to_pylist())
            trades += len(batch)
            checksum += int(checksums(batch).sum())
    digest = hashlib.sha256()
    with path.open("rb") as source:
        while piece := source.read(PIECE_BYTES):
            digest.update(piece)
    return ColdFile(name, trades, checksum & CHECKSUM_MASK, digest.hexdigest(), path.stat().st_size)


def _batch(times: np.ndarray, price: np.ndarray, quantity: np.ndarray, ids: list[str | None]) -> TradeBatch:
    """Return a batch with the columns of a checksum."""
    rows, numbers = len(times), [_number(text) for text in ids]
    return TradeBatch(times.astype(np.int64), np.zeros(rows, np.int32), price, quantity, np.zeros(rows, np.uint8),
                      np.array(numbers, np.int64), np.zeros(rows, np.int64), np.zeros(rows, np.int64), np.zeros(rows, np.uint8))


def _number(text: str | None) -> int:
    """Return an id as the sink casts it: 0 if it is not a non-negative integer of 64 bits."""
    number = int(text) if text and text.isascii() and text.isdigit() else 0
    return number if number < 2**63 else 0


def main() -> None:
    """Print the facts of the file in the arguments as JSON. This is the body of the process."""
    print(msgspec.json.encode(facts_of(Path(sys.argv[1]), sys.argv[2])).decode())
