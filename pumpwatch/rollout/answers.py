"""The figures of a sink's answers to queries: of a whole phase, and of the last minutes, which the limits apply to."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Annotated

import msgspec

STEP = 1.02  # ratio of neighbouring bins of answer times: percentiles are exact to 2 %
KINDS = ("missing in the sink", "missing in the journal", "other values", "doubled")
MANY = 100_000  # most queries that are judged

Count = Annotated[int, msgspec.Meta(ge=0)]


class PhaseAnswers(msgspec.Struct, kw_only=True):
    """The figures of one phase. bins: answered queries by answer time, in steps of STEP. rss: the collector's resident memory.

    last_difference: the kinds of differences that the last such comparison found, with an example of each.
    """

    queries: Count = 0
    failed: Count = 0
    late: Count = 0  # windows that were not compared because the sink did not have them yet
    trades: Count = 0  # that were compared
    differences: dict[str, Count] = msgspec.field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    last_difference: str = ""
    last_difference_ns: Count = 0  # 0: none yet
    total_ms: float = 0.0
    bins: dict[int, Count] = {}
    rss_first_bytes: Count = 0
    rss_most_bytes: Count = 0
    rss_last_bytes: Count = 0

    def add(self, ms: float | None) -> None:
        """Count one query by its time in ms; None means that it failed."""
        self.queries += 1
        if ms is None:
            self.failed += 1
            return
        self.total_ms += ms
        place = math.ceil(math.log(max(ms, 0.001), STEP))
        self.bins[place] = self.bins.get(place, 0) + 1

    def add_memory(self, rss_bytes: int) -> None:
        """Record the resident memory of the collector."""
        self.rss_first_bytes = self.rss_first_bytes or rss_bytes
        self.rss_most_bytes, self.rss_last_bytes = max(self.rss_most_bytes, rss_bytes), rss_bytes

    def percentile_ms(self, share: float) -> float:
        """Return the ms within which `share` of the queries were answered, 0 without answers."""
        answered = sum(self.bins.values())
        seen = 0
        for place in sorted(self.bins):
            seen += self.bins[place]
            if seen >= share * answered:
                return float(round(STEP**place, 3))
        return 0.0

    @property
    def mean_ms(self) -> float:
        """Return the mean answer time in ms, 0 without answers."""
        return self.total_ms / (self.queries - self.failed) if self.queries > self.failed else 0.0

    @property
    def compared(self) -> bool:
        """Return whether any answer was compared: it neither failed nor was late."""
        return self.queries > self.failed + self.late

    @property
    def different(self) -> int:
        """Return the number of differences of every kind."""
        return sum(self.differences.values())


@dataclass(frozen=True, slots=True)
class QuerySummary:
    """The number of recent queries, the percent that failed, and the mean ms of the others."""

    queries: int
    error_percent: float
    mean_ms: float


class RecentQueries:
    """The queries of the last `over_s` seconds, by a monotonic clock."""

    def __init__(self, over_s: float) -> None:
        self._over_s = over_s
        self._queries: deque[tuple[float, float | None]] = deque(maxlen=MANY)

    def add(self, now_s: float, ms: float | None) -> None:
        """Count one query by its time in ms; None means that it failed."""
        self._queries.append((now_s, ms))

    def clear(self) -> None:
        """Forget every query, because another share begins."""
        self._queries.clear()

    def judged(self, now_s: float) -> QuerySummary:
        """Return the summary of the queries that are not older than `over_s`."""
        while self._queries and self._queries[0][0] < now_s - self._over_s:
            self._queries.popleft()
        answered = [ms for _, ms in self._queries if ms is not None]
        total = len(self._queries)
        return QuerySummary(total, 100 * (total - len(answered)) / total if total else 0.0,
                            sum(answered) / len(answered) if answered else 0.0)
