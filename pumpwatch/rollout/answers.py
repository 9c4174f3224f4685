"""Figures of the queries that a sink answered during a phase, and of those that the limits are judged by."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Annotated

import msgspec

STEP = 1.02  # a bin of the answer times is so much longer than the one before it: percentiles are within 2 %
KINDS = ("missing in the sink", "missing in the journal", "other values", "doubled")
MANY = 100_000  # queries that are judged at most

Count = Annotated[int, msgspec.Meta(ge=0)]


class Answers(msgspec.Struct, kw_only=True):
    """The figures of one phase. bins: answered queries by time, in steps of STEP. Memory: resident bytes of the collector.

    last_difference: the kinds that the last comparison with differences found, with an example each.
    """

    queries: Count = 0
    failed: Count = 0
    late: Count = 0  # windows that were not compared, since the sink had not got them yet
    trades: Count = 0  # compared
    differences: dict[str, Count] = msgspec.field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    last_difference: str = ""
    last_difference_ns: Count = 0  # 0: none yet
    total_ms: float = 0.0
    bins: dict[int, Count] = {}
    rss_first_bytes: Count = 0
    rss_most_bytes: Count = 0
    rss_last_bytes: Count = 0

    def add(self, ms: float | None) -> None:
        """Count one query that took `ms`, None for one that failed."""
        self.queries += 1
        if ms is None:
            self.failed += 1
            return
        self.total_ms += ms
        place = math.ceil(math.log(max(ms, 0.001), STEP))
        self.bins[place] = self.bins.get(place, 0) + 1

    def add_memory(self, rss_bytes: int) -> None:
        """Note the resident memory of the collector."""
        self.rss_first_bytes = self.rss_first_bytes or rss_bytes
        self.rss_most_bytes, self.rss_last_bytes = max(self.rss_most_bytes, rss_bytes), rss_bytes

    def percentile_ms(self, share: float) -> float:
        """Return the ms within which `share` of the queries were answered, 0 without any."""
        answered = sum(self.bins.values())
        seen = 0
        for place in sorted(self.bins):
            seen += self.bins[place]
            if seen >= share * answered:
                return float(round(STEP**place, 3))
        return 0.0

    @property
    def mean_ms(self) -> float:
        """Return the mean time of an answer, 0 without any."""
        return self.total_ms / (self.queries - self.failed) if self.queries > self.failed else 0.0

    @property
    def compared(self) -> bool:
        """Return whether any answer was compared: some were neither failed nor late."""
        return self.queries > self.failed + self.late

    @property
    def different(self) -> int:
        """Return the number of differences of every kind."""
        return sum(self.differences.values())


@dataclass(frozen=True, slots=True)
class Judged:
    """The queries of the last time: their number, the percent that failed, and the mean ms of the others."""

    queries: int
    error_percent: float
    mean_ms: float


class Lately:
    """The queries of the last `over_s` seconds, by a monotonic clock."""

    def __init__(self, over_s: float) -> None:
        self._over_s = over_s
        self._queries: deque[tuple[float, float | None]] = deque(maxlen=MANY)

    def add(self, now_s: float, ms: float | None) -> None:
        """Count one query that took `ms`, None for one that failed."""
        self._queries.append((now_s, ms))

    def clear(self) -> None:
        """Forget every query: another share begins."""
        self._queries.clear()

    def judged(self, now_s: float) -> Judged:
        """Return the figures of the queries that are not older than `over_s`."""
        while self._queries and self._queries[0][0] < now_s - self._over_s:
            self._queries.popleft()
        answered = [ms for _, ms in self._queries if ms is not None]
        total = len(self._queries)
        return Judged(total, 100 * (total - len(answered)) / total if total else 0.0, sum(answered) / len(answered) if answered
                      else 0.0)
