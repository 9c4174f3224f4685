"""Detect trades that a sink has lost after acknowledging them, by comparing its row counts with the journal's.

Trades are counted by the minute of their timestamp, and only acknowledged trades are expected. So any minute can be compared at
any time, and a sink with fewer rows has lost trades. Before trades are sent again, the distinct trades of the minute are counted
in the journal, because doubles are one row in a sink.

The collectors of a cluster write to one sink, so a loss of one collector's trades may hide behind the rows of the others. In such
a sink, a minute with fewer rows than it once had has also lost trades. Each collector then sends its own trades of that minute
again.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from gevent.threadpool import ThreadPool

from pumpwatch.clock import Clock
from pumpwatch.errors import PumpWatchError
from pumpwatch.model import TradeBatch
from pumpwatch.sink_abilities import CountingSink
from pumpwatch.store.census import HOUR_NS, trades_by_minute
from pumpwatch.store.minutes import MINUTE_NS

log = logging.getLogger(__name__)

HOURS = 6  # compared each time; once trades are missing, the whole journal is compared
TRIES = 3  # a minute is sent again this often; trades that are still missing are not kept by the sink


class JournalCensus(Protocol):
    """The counts of a journal, see `store.census`."""

    stopped: bool

    def locked(self) -> bool:
        """Return whether trades of a locked file are left out."""

    def minutes(self, from_ns: int, upto_id: int) -> Counter[int]:
        """Return the trades by minute."""

    def hours(self, from_ns: int, to_ns: int) -> Counter[int]:
        """Return a lower bound of the trades by hour."""

    def distinct(self, start_ns: int, end_ns: int, upto_id: int) -> int:
        """Return the number of distinct trades."""

    def first_batch(self, start_ns: int, end_ns: int) -> int | None:
        """Return the oldest batch, None without one."""


@dataclass(frozen=True, slots=True)
class Loss:
    """Trades that a sink has lost: their approximate number. All of them are in batches after `after_id`."""

    after_id: int
    trades: int


class Audit:
    """The expected row counts of one sink. Use it from one greenlet, except `from_ns`."""

    def __init__(self, name: str, sink: CountingSink, census: JournalCensus, clock: Clock, shared: bool = False) -> None:
        self._name, self._sink, self._census, self._clock, self._shared = name, sink, census, clock, shared
        self._thread = ThreadPool(1)  # for the census
        self._expected: Counter[int] = Counter()  # minute since 1970 -> acknowledged trades
        self._tries: Counter[int] = Counter()  # minute -> how often it was sent again
        self._most: Counter[int] = Counter()  # minute -> the most rows that a shared sink had
        self._began_after, self._earlier_counted = 0, False
        self.counted_upto = 0  # batches up to this one are in `_expected`
        self.keeps_s = 0.0  # the sink deletes trades older than this; 0: it deletes none

    def begin(self, batch_id: int) -> None:
        """Begin (again) after this batch: later batches must be passed to `add`."""
        self._expected, self._tries, self._most, self._earlier_counted = Counter(), Counter(), Counter(), False
        self.counted_upto = self._began_after = batch_id

    def count_earlier_runs(self) -> None:
        """Count the trades that earlier runs sent, once; blocks only the calling greenlet.

        Nothing is counted while a file of the journal is locked; call this again later.
        """
        if not self._earlier_counted and not self._census.locked():
            expected, earlier = self._expected, self._thread.apply(self._census.minutes, (self.from_ns(), self._began_after))
            if expected is self._expected:  # it was not begun again meanwhile
                self._expected.update(earlier)
                self._earlier_counted = True

    def from_ns(self) -> int:
        """Return the beginning of the compared time, in ns; any thread."""
        kept_from_ns = max(self._clock.now_ns() - HOURS * HOUR_NS, self._kept_from_ns())
        return -(-kept_from_ns // MINUTE_NS) * MINUTE_NS

    def add(self, minutes: Counter[int], upto_id: int) -> None:
        """Add trades by minute that were acknowledged for the first time, in batches up to this one."""
        self._expected.update(minutes)
        self.counted_upto = max(self.counted_upto, upto_id)

    def stop(self) -> None:
        """Abort a running comparison."""
        self._census.stopped = True

    def compare(self) -> Loss | None:
        """Return the trades that are missing in the sink, None without any. Raises PumpWatchError if it cannot count now."""
        first, last = self.from_ns() // MINUTE_NS, self._clock.now_ns() // MINUTE_NS + 60 * HOURS
        for minute in [minute for minute in self._expected if not first <= minute <= last]:
            del self._expected[minute]
        self._tries, self._most = (Counter({minute: number for minute, number in counts.items() if minute in self._expected})
                                   for counts in (self._tries, self._most))
        upto, expected = self.counted_upto, dict(self._expected)
        minutes = sorted(minute for minute, trades in expected.items() if trades > 0)
        rows = dict(zip(minutes, self._sink.count([_minute(minute) for minute in minutes]), strict=True))
        lacks = {minute: max(expected[minute], self._most[minute]) - rows[minute] for minute in minutes}
        for minute in minutes:
            if lacks[minute] <= 0:
                self._tries.pop(minute, None)
        if self._shared:
            self._most |= Counter(rows)
        lost = self._really_lost([minute for minute in minutes if lacks[minute] > 0], rows, expected, upto)
        if not lost:
            return None
        after_id = self._thread.apply(self._census.first_batch, (lost[0] * MINUTE_NS, (lost[-1] + 1) * MINUTE_NS))
        if after_id is None:
            return None
        self._tries.update(lost)
        return Loss(min(after_id, self._oldest_loss(first * MINUTE_NS) or after_id) - 1,
                    sum(lacks[minute] for minute in lost))

    def _really_lost(self, lacking: list[int], rows: dict[int, int], expected: dict[int, int], upto: int) -> list[int]:
        """Return the minutes with missing trades, beginning with the first that the journal confirms."""
        for at, minute in enumerate(lacking):
            there = self._thread.apply(self._census.distinct, (*_minute(minute), upto))
            gone = max(there, self._most[minute] if there else 0) - rows[minute]
            if gone > 0 and self._tries[minute] < TRIES:
                return lacking[at:]
            if gone > 0:
                log.warning("sink does not keep some trades although they were sent again sink=%s trades=%d times=%d minute=%d",
                            self._name, gone, TRIES, minute)
            self._expected[minute] -= max(0, expected[minute] - rows[minute])  # doubles, or trades that it does not keep
            if self._shared:
                self._most[minute] = rows[minute]
        return []

    def _oldest_loss(self, before_ns: int) -> int | None:
        """Return the first batch of the oldest incomplete hour before `before_ns`, None without one."""
        least = self._thread.apply(self._census.hours, (self._kept_from_ns(), before_ns))
        hours = sorted(least)
        try:
            rows = self._sink.count([(hour * HOUR_NS, (hour + 1) * HOUR_NS) for hour in hours])
        except PumpWatchError:
            return None
        for hour, found in zip(hours, rows, strict=True):
            if found < least[hour]:
                first: int | None = self._thread.apply(self._census.first_batch, (hour * HOUR_NS, before_ns))
                return first
        return None

    def _kept_from_ns(self) -> int:
        """Return the time before which the sink deletes trades."""
        return self._clock.now_ns() - int(self.keeps_s * 1e9) if self.keeps_s else 0


def _minute(minute: int) -> tuple[int, int]:
    return minute * MINUTE_NS, (minute + 1) * MINUTE_NS


def taken_minutes(batch: TradeBatch, sent: int, refused: Sequence[int], from_ns: int) -> Counter[int]:
    """Return the trades by minute that a sink stored for the first time: without the first `sent` rows and rejected rows."""
    taken = np.arange(len(batch)) >= sent
    taken[np.array(refused, np.int64)] = False
    return trades_by_minute(batch if taken.all() else batch.take(taken), from_ns)
