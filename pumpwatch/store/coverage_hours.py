"""Encode an hour of one venue: the figures of its minutes by symbol, and the stored ids.

The result has two parts: the numbers of trades, which are kept long, and the sums and ids, which are kept shorter. A minute
without trades takes no space. The hour of a busy venue, with 450 symbols that trade in every minute, takes about 230 KB.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import msgspec
import numpy as np
import zstandard
from numpy.typing import NDArray

from pumpwatch.errors import StorageError
from pumpwatch.store.id_runs import IdRuns
from pumpwatch.store.minutes import HOUR_MINUTES, Minutes

_LEVEL = 3
T = TypeVar("T", bound=np.generic)


class _Counts(msgspec.Struct, array_like=True):
    symbols: list[str]
    symbol: bytes
    minute: bytes
    trades: bytes


class _Sums(msgspec.Struct, array_like=True):
    """Columns in the order of `_Counts`, then the runs of ids, with their own symbols."""

    outside: bytes
    joined: bytes
    checksum: bytes
    volume: bytes
    symbols: list[str]
    symbol: bytes
    runs: bytes


@dataclass(frozen=True, slots=True)
class Hour:
    """The figures of one venue and hour. thin: only the numbers of trades are left."""

    minutes: Minutes
    runs: IdRuns
    thin: bool = False


_COUNTS, _SUMS = msgspec.msgpack.Decoder(_Counts), msgspec.msgpack.Decoder(_Sums)


def encode(hour: Hour, symbols: Mapping[int, str], number: int) -> tuple[bytes, bytes]:
    """Return both parts of hour `number` (since 1970). symbols: the symbol of each instrument."""
    minutes, runs = hour.minutes, hour.runs
    names, which = _named(minutes.instrument, symbols)
    run_names, run_which = _named(runs.instrument, symbols)
    counts = _Counts(names, which, _split((minutes.minute - number * HOUR_MINUTES).astype(np.uint8)),
                     _split(minutes.trades.astype(np.uint32)))
    sums = _Sums(_split(minutes.outside.astype(np.uint32)), _split(minutes.joined.astype(np.uint32)),
                 _split(minutes.checksum.astype(np.uint32)), _split(minutes.volume), run_names, run_which,
                 b"".join(_split(column) for column in (runs.first, runs.last - runs.first, runs.first_ns, runs.last_ns)))
    compress = zstandard.ZstdCompressor(level=_LEVEL).compress
    return compress(msgspec.msgpack.encode(counts)), b"" if hour.thin else compress(msgspec.msgpack.encode(sums))


def decode(counts: bytes, sums: bytes, numbers: Mapping[str, int], number: int) -> Hour:
    """Return an hour. numbers: the instrument of each symbol. Raises StorageError for damaged bytes.

    Without the second part, all sums are 0.
    """
    try:
        decompress = zstandard.ZstdDecompressor().decompress
        first = _COUNTS.decode(decompress(counts))
        instrument = _numbered(first.symbols, first.symbol, numbers)
        minute = _join(first.minute, np.uint8).astype(np.int64) + number * HOUR_MINUTES
        trades = _join(first.trades, np.uint32).astype(np.int64)
        nothing = np.zeros(len(minute), np.int64)
        if not sums:
            return Hour(_sorted(Minutes(instrument, minute, trades, nothing, nothing, nothing.astype(np.float64), nothing)),
                        IdRuns.empty(), thin=True)
        second = _SUMS.decode(decompress(sums))
        outside, joined, checksum = (_join(part, np.uint32).astype(np.int64)
                                     for part in (second.outside, second.joined, second.checksum))
        minutes = Minutes(instrument, minute, trades, outside, joined, _join(second.volume, np.float64), checksum)
        if {len(column) for column in (instrument, minute, trades, outside, joined, checksum, minutes.volume)} != {len(minute)}:
            raise ValueError("its columns have different lengths")
        owner = _numbered(second.symbols, second.symbol, numbers)
        size = len(owner) * 8
        first_id, span, first_ns, last_ns = (_join(second.runs[part * size:(part + 1) * size], np.int64) for part in range(4))
        runs = IdRuns(owner, first_id, first_id + span, first_ns, last_ns)
        return Hour(_sorted(minutes), runs.take(np.lexsort((runs.first, runs.instrument))))
    except (zstandard.ZstdError, msgspec.DecodeError, ValueError, IndexError) as error:
        raise StorageError(f"an hour of the ledger of minutes is damaged: {error}") from error


def symbols_in(counts: bytes, sums: bytes) -> list[str]:
    """Return the symbols of an encoded hour. Raises StorageError for damaged bytes."""
    try:
        decompress = zstandard.ZstdDecompressor().decompress
        names = _COUNTS.decode(decompress(counts)).symbols
        return [*names, *(_SUMS.decode(decompress(sums)).symbols if sums else ())]
    except (zstandard.ZstdError, msgspec.DecodeError) as error:
        raise StorageError(f"an hour of the ledger of minutes is damaged: {error}") from error


def _sorted(minutes: Minutes) -> Minutes:
    """Return the rows in the order of this process's instrument ids."""
    return minutes.take(np.argsort(minutes.keys(), kind="stable"))


def _named(instrument: NDArray[np.int32], symbols: Mapping[int, str]) -> tuple[list[str], bytes]:
    numbers, which = np.unique(instrument, return_inverse=True)
    return [symbols[number] for number in numbers.tolist()], _split(which.astype(np.uint32))


def _numbered(symbols: list[str], which: bytes, numbers: Mapping[str, int]) -> NDArray[np.int32]:
    table = np.array([numbers[symbol] for symbol in symbols], np.int32)
    found: NDArray[np.int32] = table[_join(which, np.uint32)]
    return found


def _split(column: NDArray[np.generic]) -> bytes:
    """Return the bytes of a column, all first bytes, then all second bytes, and so on, which compresses better."""
    width = column.dtype.itemsize
    return np.ascontiguousarray(column).view(np.uint8).reshape(-1, width).T.tobytes()


def _join(data: bytes, dtype: type[T]) -> NDArray[T]:
    width = np.dtype(dtype).itemsize
    bytes_of = np.frombuffer(data, np.uint8).reshape(width, -1).T
    found: NDArray[T] = np.ascontiguousarray(bytes_of).reshape(-1).view(dtype)
    return found
