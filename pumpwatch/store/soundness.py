"""Check a closed segment in small steps: every batch must be readable, and a query must find it.

Each batch is fetched by its id. Its checksum is verified, its symbols are looked up among the file's names, and its entry in
the time index is looked up by key. Nothing is decompressed: a gigabyte takes about a second.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from pumpwatch.errors import StorageError
from pumpwatch.store import codec
from pumpwatch.store.names import read_instruments
from pumpwatch.store.segment import LONG_NS, Segment, read_segment
from pumpwatch.store.sqlite import DAMAGED, connect, is_temporary

UNREADABLE: tuple[type[Exception], ...] = (*DAMAGED, StorageError)
_ROW = "SELECT first_timestamp, last_timestamp, trades, head, body FROM batches NOT INDEXED WHERE id = ?"
_PLACE = ("SELECT 1 FROM batches INDEXED BY {} WHERE last_timestamp = ? AND first_timestamp = ? AND id = ?{}")
_TIME, _LONG = (_PLACE.format("batches_time", ""),
                _PLACE.format("batches_long", f" AND last_timestamp - first_timestamp > {LONG_NS}"))


class Soundness:
    """The check of one file. batches: id -> why the batch is unreadable. Use it from one thread at a time."""

    def __init__(self, segment: Segment, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.path: Path = segment.path
        self.batches: dict[int, str] = {}
        self.index_damaged = False
        self.whole = ""  # why the whole file is unreadable
        self._stopped = False  # the check ended early, because the file is locked, gone or unreadable
        self._monotonic = monotonic
        self._at, self._last_id = segment.first_id, segment.last_id
        self._connection: sqlite3.Connection | None = None
        self._named = np.zeros(0, np.bool_)

    @property
    def good(self) -> bool:
        """Return whether no damage was found so far."""
        return not (self.batches or self.index_damaged or self.whole)

    def step(self, seconds: float) -> bool:
        """Continue the check for about `seconds`; return whether it is over."""
        until = self._monotonic() + seconds
        try:
            if self._connection is None:
                self._open()
            while self._at <= self._last_id:
                self._check_batch(self._at)
                self._at += 1
                if self._monotonic() >= until:
                    break
        except UNREADABLE as error:
            self._stopped = True
            self.whole = "" if is_temporary(error) and self.path.exists() else str(error)
        done = self._stopped or self._at > self._last_id
        if done:
            self.close()
        return done

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def lines(self) -> list[str]:
        """Return one line for each problem."""
        lines = [self.whole] if self.whole else []
        lines += [f"batch {number}: {why}" for number, why in self.batches.items()]
        return lines + (["its time index is damaged: queries read it without the index"] if self.index_damaged else [])

    def _open(self) -> None:
        read_segment(self.path)
        self._connection = connect(self.path, read_only=True)
        numbers = list(read_instruments(self._connection))
        self._named = np.zeros(max(numbers, default=-1) + 1, np.bool_)
        self._named[numbers] = True

    def _check_batch(self, number: int) -> None:
        assert self._connection is not None
        try:
            row = self._connection.execute(_ROW, (number,)).fetchone()
        except DAMAGED as error:
            if is_temporary(error):
                raise
            self.batches[number] = str(error)
            return
        if row is None:
            self.batches[number] = "it is not in the file"
            return
        first_ns, last_ns, trades, head, body = row
        try:
            rows = codec.check(head, body)
            held = codec.instruments_in(head)
        except (StorageError, TypeError) as error:
            self.batches[number] = str(error)
            return
        if int(held[-1]) >= len(self._named) or not self._named[held].all():
            self.batches[number] = "trades whose symbol cannot be read"
        elif rows != trades or not self._placed(number, first_ns, last_ns):
            self.index_damaged = True

    def _placed(self, number: int, first_ns: object, last_ns: object) -> bool:
        """Return whether the time index has an entry with this batch's times, so that a query finds the batch."""
        assert self._connection is not None
        try:
            if self._connection.execute(_TIME, (last_ns, first_ns, number)).fetchone() is None:
                return False
            return (int(last_ns) - int(first_ns) <= LONG_NS  # type: ignore[call-overload]
                    or self._connection.execute(_LONG, (last_ns, first_ns, number)).fetchone() is not None)
        except DAMAGED as error:
            if is_temporary(error):
                raise
            return False


def check_segments(segments: Sequence[Segment], seconds: float) -> Iterator[tuple[Segment, list[str] | None]]:
    """Yield each segment, newest first, with its problems, or with None once `seconds` have passed."""
    until = time.monotonic() + seconds
    for segment in reversed(segments):
        look = Soundness(segment)
        done = look.step(max(0.0, until - time.monotonic())) if time.monotonic() < until else False
        look.close()
        yield segment, look.lines() if done or not look.good else None
