"""Optional abilities of a sink, beyond writing and reading. PumpWatch uses an ability where a sink has its methods."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import BinaryIO, Protocol, runtime_checkable

from pumpwatch.hookspecs import Keeping, Sink


@runtime_checkable
class KeepingSink(Protocol):
    """A sink that knows how it keeps its trades; for other sinks the defaults of `Keeping` are assumed."""

    def keeping(self) -> Keeping:
        """Return how it keeps its trades now. Called after `open` and every few seconds; it must work before `open`, too.

        Raises ServiceUnavailable or ConfigError.
        """


@runtime_checkable
class CountingSink(Protocol):
    """A sink that counts its trades cheaply, so that lost rows are detected and sent again."""

    def count(self, ranges: Sequence[tuple[int, int]]) -> Sequence[int]:
        """Return the number of trades in each [from, to) of timestamps, including all that was acknowledged before the call.

        Raises ServiceUnavailable if it cannot know now, for example while acknowledged trades are becoming visible.
        """


SymbolMinute = tuple[str, str, str, int, int, int]  # exchange, market type, symbol, minute since 1970, trades, checksum


@runtime_checkable
class SummingSink(Protocol):
    """A sink that adds up the trades of each minute cheaply, so that it can be compared with the journal, even of long ago."""

    def minute_sums(self, start_ns: int, end_ns: int) -> Sequence[SymbolMinute]:
        """Return the trades with a timestamp in [start_ns, end_ns) by symbol and minute, including all that was acknowledged.

        checksum: the sum over the trades of (timestamp ^ id) + 31 * trunc(quantity * 1e8) + 17 * trunc(price * 1e8), its last 32
        bits, in integers of 64 bits that wrap. An id that is not a whole number counts as 0, and so does a product that 64 bits
        do not hold. Raises ServiceUnavailable if it cannot know now.
        """


@runtime_checkable
class AdvisingSink(Protocol):
    """A sink that knows which settings of its server hurt."""

    def advice(self) -> Sequence[tuple[str, str]]:
        """Return what hurts, and the command that mends it. It must work before `open`. Raises ServiceUnavailable."""


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """A sink's server in figures; None or an empty text for what it cannot tell.

    version: its name and version. size_bytes: of the sink's tables. parts: their partitions or chunks. compression_ratio: the
    size without compression by the size with it. cache_hit_ratio: the share of reads that its memory answered, 0 to 1.
    connections: that this sink holds open; busy: those that carry a call at this moment.
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
    """A sink whose server tells its version and its sizes, for `pumpwatch check --connect` and `pumpwatch db status`."""

    def server(self) -> str:
        """Return the server, its version and that of the tables, in one line. Called after `open`. Raises ServiceUnavailable."""

    def facts(self) -> ServerFacts:
        """Return the figures of now. It must work before `open`. Raises ServiceUnavailable or ConfigError."""


@dataclass(frozen=True, slots=True)
class StoredDay:
    """A part of a sink's trades that goes as a whole, usually a day. Its trades are in [from_ns, to_ns) by timestamp."""

    name: str
    from_ns: int
    to_ns: int
    trades: int
    size_bytes: int


@runtime_checkable
class DroppingSink(Protocol):
    """A sink that can drop old trades by whole days, so that its disk does not fill up. The methods may block."""

    def days(self) -> Sequence[StoredDay]:
        """Return the days that it holds, the oldest first; never the one that is written. Raises ServiceUnavailable."""

    def keep_days(self, days: int) -> None:
        """Have it drop by itself whatever is older than so many days, as it goes on; 0: as its own options say."""

    def drop_days(self, days: Sequence[StoredDay]) -> None:
        """Drop these days. If that cannot be done at once, they go by `keep_days`. Raises ServiceUnavailable."""

    def write_parquet(self, day: StoredDay, file: BinaryIO) -> None:
        """Write a day's trades as Parquet, with the columns of the sink's table. Raises ServiceUnavailable."""

    def day_sums(self, day: StoredDay) -> tuple[int, int]:
        """Return the trades of a day and their checksum, as that of `SummingSink.minute_sums`."""

    def files_in(self) -> str:
        """Return the folder of its files where it is on this machine, else an empty text. Raises ServiceUnavailable."""


class Readable(Protocol):
    """Whatever bytes are read from."""

    def read(self, size: int = -1, /) -> bytes:
        """Return at most `size` bytes, none at the end. Raises ServiceUnavailable where the rest cannot be had."""


@dataclass(frozen=True, slots=True)
class BackupPart:
    """One file of a sink's backup.

    name: letters, digits, `.`, `_`, `-` and `/`. key: the file of an earlier backup with an equal key, not empty, is taken over
    and this one is not read. size_bytes: about how much of the server is read for it.
    """

    name: str
    key: str = ""
    size_bytes: int = 0


class HeldBackup(Protocol):
    """A sink as it was at one moment. Methods block; they are called one after the other."""

    parts: Sequence[BackupPart]

    def open(self, part: BackupPart) -> AbstractContextManager[Readable]:
        """Return the content of a part; it is read to its end, slowly where the backup's rate is low."""

    def rows(self, part: BackupPart) -> Mapping[str, int]:
        """Return the number of rows of each table in the part, as of the same moment."""


OpenPart = Callable[[str], AbstractContextManager[BinaryIO]]  # name of a part -> its content, from a pipe
JudgeRows = Callable[[Mapping[str, Mapping[str, int]]], None]  # rows of each table, by part; raises StorageError


@runtime_checkable
class BackedUpSink(Protocol):
    """A sink that can be backed up beside the journal, and restored onto an empty server. Neither needs `open` first."""

    def backup(self) -> AbstractContextManager[HeldBackup]:
        """Hold the sink as it is now, while it goes on taking trades. Raises ServiceUnavailable or ConfigError."""

    def restore(self, names: Sequence[str], open_part: OpenPart, judge: JudgeRows) -> Mapping[str, Mapping[str, int]]:
        """Store the parts of a backup, have the rows of each table judged, and return them, by part.

        A part may be opened several times. Raises UsageError where the sink holds anything, ConfigError where its server does
        not fit. After an error, that of `judge` included, the sink is empty again, or the error's hint says what is there. One
        that was cut off, even by a kill, must leave a sink that a later `restore` fills, and `open` refuses.
        """


@runtime_checkable
class TrialSink(Protocol):
    """A sink that can be measured under load without touching its real trades."""

    def trial(self, name: str) -> Sink:
        """Return another sink with the same settings that keeps what it gets in a place of its own, beside the real one.

        name: small letters, digits and `_`. The returned sink has `remove_trial` too.
        """

    def trial_place(self) -> str:
        """Return the place of a trial in words for a person: the server and the names of its tables."""

    def remove_trial(self) -> None:
        """Remove everything that a trial has stored. Raises ServiceUnavailable, and ConfigError for a sink that is none."""
