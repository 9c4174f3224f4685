"""Turn a file into an object and back: compressed by zstd, and encrypted by age if there are recipients.

Files of any size need only a few hundred KiB of memory.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

import zstandard

from pumpwatch.backup.keys import decrypt, encrypt
from pumpwatch.errors import StorageError
from pumpwatch.sink_abilities import Readable
from pumpwatch.store.sqlite import make_private

LEVEL = 3
PIECE_BYTES = 256 << 10
ENDING, ENCRYPTED = ".zst", ".age"


class ReadPace:
    """Limits the rate of reading to `bytes_per_s` by sleeping; 0: no limit."""

    def __init__(self, bytes_per_s: float, monotonic: Callable[[], float] = time.monotonic,
                 sleep: Callable[[float], None] = time.sleep) -> None:
        self._rate, self._monotonic, self._sleep = bytes_per_s, monotonic, sleep
        self._free_at = 0.0

    def passed(self, count: int) -> None:
        """Sleep for as long as reading this many bytes may take."""
        if self._rate:
            now = self._monotonic()
            self._free_at = max(self._free_at, now) + count / self._rate
            if self._free_at > now:
                self._sleep(self._free_at - now)


class _Counted:
    """A source that hashes and counts the bytes read from it."""

    def __init__(self, source: Readable, pace: ReadPace) -> None:
        self._source, self._pace = source, pace
        self.sum, self.bytes = hashlib.sha256(), 0

    def read(self, size: int = -1) -> bytes:
        piece = self._source.read(PIECE_BYTES if size < 0 else min(size, PIECE_BYTES))
        self.sum.update(piece)
        self.bytes += len(piece)
        self._pace.passed(len(piece))
        return piece


class _Sum:
    """A target that hashes and counts the bytes that it passes on."""

    def __init__(self, target: IO[bytes]) -> None:
        self._target, self.sum, self.bytes = target, hashlib.sha256(), 0

    def write(self, piece: bytes) -> int:
        self.sum.update(piece)
        self.bytes += len(piece)
        self._target.write(piece)
        return len(piece)

    def flush(self) -> None:
        self._target.flush()


def pack(source: Readable, target: Path, recipients: Sequence[Any], pace: ReadPace) -> tuple[str, int]:
    """Write a source as an object, synced; return the SHA-256 and the size of the source. Raises OSError."""
    counted = _Counted(source, pace)
    make_private(target)
    with target.open("wb") as file, _compressed(counted) as compressed:
        if recipients:
            encrypt(compressed, file, recipients)
        else:
            shutil.copyfileobj(compressed, file, PIECE_BYTES)
        file.flush()
        os.fsync(file.fileno())
    return counted.sum.hexdigest(), counted.bytes


def _compressed(source: Any) -> Any:
    return zstandard.ZstdCompressor(level=LEVEL).stream_reader(source)


def unpack(source: Readable, target: IO[bytes], name: str, identities: Sequence[Any]) -> tuple[str, int]:
    """Write an object's file to a target; return its SHA-256 and size.

    name: the object's, whose suffix tells whether it is encrypted. Raises StorageError if it is damaged, ConfigError if none of
    the identities opens it.
    """
    summed = _Sum(target)
    with zstandard.ZstdDecompressor().stream_writer(summed, closefd=False) as plain:  # type: ignore[arg-type]
        try:
            if name.endswith(ENCRYPTED):
                decrypt(source, plain, identities, name)
            else:
                while piece := source.read(PIECE_BYTES):
                    plain.write(piece)
        except zstandard.ZstdError as error:
            raise StorageError(f"{name} is damaged: {error}") from error
    return summed.sum.hexdigest(), summed.bytes
