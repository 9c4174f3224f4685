"""Optional abilities of a sink, beyond writing and reading. PumpWatch uses an ability if the sink has its methods."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import BinaryIO, Protocol, runtime_checkable

from pumpwatch.hookspecs import Keeping, Sink


@runtime_checkable
class KeepingSink(Protocol):
    """A sink that reports how it keeps its trades; for other sinks the defaults of `Keeping` apply."""

    def keeping(self) -> Keeping:
        """Return how the sink keeps its trades now. Called after `open` and every few seconds; must also work before `open`.

        Raises ServiceUnavailable or ConfigError.
        """


@runtime_checkable
class CountingSink(Protocol):
    """A sink with cheap row counts, so that lost rows are detected and sent again."""

    def count(self, ranges: Sequence[tuple[int, int]]) -> Sequence[int]:
        """Return the number of trades in each [from, to) of timestamps, including all trades acknowledged before the call.

        Raises ServiceUnavailable if the number is not known now, for example while acknowledged trades are becoming visible.
        """


SymbolMinute = tuple[str, str, str, int, int, int]  # exchange, market type, symbol, minute since 1970, trades, checksum


@runtime_checkable
class SummingSink(Protocol):
    """A sink with cheap sums of each minute's trades, so that even old trades can be compared with the journal."""

    def minute_sums(self, start_ns: int, end_ns: int) -> Sequence[SymbolMinute]:
        """Return the number and the checksum of all acknowledged trades in [start_ns, end_ns), by symbol and minute.

        checksum: the low 32 bits of the sum of (timestamp ^ id) + 31 * trunc(quantity * 1e8) + 17 * trunc(price * 1e8) over the
        trades, in wrapping 64-bit integers. An id that is not an integer counts as 0, and so does a product that exceeds 64
        bits. Raises ServiceUnavailable if the sums are not known now.
        """


@runtime_checkable
class AdvisingSink(Protocol):
    """A sink that detects harmful settings of its server."""

    def advice(self) -> Sequence[tuple[str, str]]:
        """Return each (harmful setting, command that corrects it). Must work before `open`. Raises ServiceUnavailable."""


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """The figures of a sink's server; None or an empty text for unknown ones.

    version: its name and version. size_bytes: of the sink's tables. parts: the number of their partitions or chunks.
    compression_ratio: uncompressed size divided by compressed size. cache_hit_ratio: the share of reads that its memory
    answered, 0 to 1. connections: the number of open connections of this sink. busy: the number of them that carry a call now.
    """

    version: str = ""
    size_bytes: int | None = None
    parts: int | None = None
    compression_ratio: float | None = None
    cache_hit_ratio: float | None = None
    connections: int | None = None
    busy: int | None = None


@runtime_checkable
class DescribedSink(Protocol):
    """A sink whose server reports its version and sizes, for `pumpwatch check --connect` and `pumpwatch db status`."""

    def server(self) -> str:
        """Return the server, its version and the tables' version in one line. Called after `open`. Raises ServiceUnavailable."""

    def facts(self) -> ServerFacts:
        """Return the current figures. Must work before `open`. Raises ServiceUnavailable or ConfigError."""


@dataclass(frozen=True, slots=True)
class StoredDay:
    """A part of a sink's trades that is dropped as a whole, usually a day: timestamps in [from_ns, to_ns)."""

    name: str
    from_ns: int
    to_ns: int
    trades: int
    size_bytes: int


@runtime_checkable
class DroppingSink(Protocol):
    """A sink that can drop whole days of old trades, so that its disk does not fill up. The methods may block."""

    def days(self) -> Sequence[StoredDay]:
        """Return the stored days, the oldest first, without the day that is being written. Raises ServiceUnavailable."""

    def keep_days(self, days: int) -> None:
        """Make the sink drop trades older than `days` by itself from now on; 0: as its own options say."""

    def drop_days(self, days: Sequence[StoredDay]) -> None:
        """Drop these days. If that is not possible at once, `keep_days` drops them later. Raises ServiceUnavailable."""

    def write_parquet(self, day: StoredDay, file: BinaryIO) -> None:
        """Write a day's trades as Parquet, with the columns of the sink's table. Raises ServiceUnavailable."""

    def day_sums(self, day: StoredDay) -> tuple[int, int]:
        """Return the number of a day's trades and their checksum, which `SummingSink.minute_sums` defines."""

    def files_in(self) -> str:
        """Return the folder of the sink's files if it is on this machine, else an empty text. Raises ServiceUnavailable."""


class Readable(Protocol):
    """A stream of bytes."""

    def read(self, size: int = -1, /) -> bytes:
        """Return at most `size` bytes, none at the end. Raises ServiceUnavailable if the rest is not available."""


@dataclass(frozen=True, slots=True)
class BackupPart:
    """One file of a sink's backup.

    name: letters, digits, `.`, `_`, `-` and `/`. key: if an earlier backup has a file with the same non-empty key, that file is
    reused and this one is not read. size_bytes: about how much is read from the server for it.
    """

    name: str
    key: str = ""
    size_bytes: int = 0


class HeldBackup(Protocol):
    """The state of a sink at one moment. The methods block; they are called one at a time."""

    parts: Sequence[BackupPart]

    def open(self, part: BackupPart) -> AbstractContextManager[Readable]:
        """Return the content of a part. It is read to its end, slowly if the backup's rate is low."""

    def rows(self, part: BackupPart) -> Mapping[str, int]:
        """Return the number of rows of each table in the part, at the same moment."""


OpenPart = Callable[[str], AbstractContextManager[BinaryIO]]  # name of a part -> its content, from a pipe
JudgeRows = Callable[[Mapping[str, Mapping[str, int]]], None]  # rows of each table, by part; raises StorageError


@runtime_checkable
class BackedUpSink(Protocol):
    """A sink that can be backed up beside the journal and restored onto an empty server, both without `open`."""

    def backup(self) -> AbstractContextManager[HeldBackup]:
        """Hold the current state of the sink while it goes on storing trades. Raises ServiceUnavailable or ConfigError."""

    def restore(self, names: Sequence[str], open_part: OpenPart, judge: JudgeRows) -> Mapping[str, Mapping[str, int]]:
        """Store the parts of a backup, have the rows of each table judged, and return their numbers, by part.

        A part may be opened several times. Raises UsageError if the sink is not empty, ConfigError if its server does not fit.
        After an error, also one of `judge`, the sink is empty again, or the hint of the error says what is left. After an
        interruption, even a kill, `open` must fail on the sink, and a later `restore` must be able to fill it.
        """


@runtime_checkable
class TrialSink(Protocol):
    """A sink that can be measured under load without touching its real trades."""

    def trial(self, name: str) -> Sink:
        """Return another sink with the same settings that stores its trades separately from the real ones.

        name: lower-case letters, digits and `_`. The returned sink also has `remove_trial`.
        """

    def trial_place(self) -> str:
        """Return the place of a trial for a person: the server and the names of its tables."""

    def remove_trial(self) -> None:
        """Remove everything that a trial has stored. Raises ServiceUnavailable, or ConfigError for a sink that is not a trial."""
