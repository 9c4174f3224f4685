"""Count the queries for trades: their number, their times, and how many memory answered; log slow queries with their plan."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from pumpwatch.clock import NS_PER_S
from pumpwatch.net.texts import one_line

log = logging.getLogger(__name__)

MEMORY = "recent"
LONGEST_MS = 60_000  # the percentiles count longer queries as this long
SHOWN = 160  # characters of a problem in a log line


class Part(Protocol):
    """A part of a query's answer, see `store.query`."""

    @property
    def source(self) -> str: ...
    @property
    def rows(self) -> int | None: ...
    @property
    def ms(self) -> float: ...
    @property
    def problem(self) -> str: ...
    @property
    def detail(self) -> str: ...


class QueryFigures:
    """Counts the queries of one process. Use it on the hub, once per query.

    slow_ms: longer queries are logged; 0: never.
    """

    def __init__(self, slow_ms: float) -> None:
        self.slow_ms = slow_ms
        self._total = self._failed = self._slow = self._by_memory = 0
        self._seconds = 0.0
        self._ms = np.zeros(LONGEST_MS + 1, np.int64)  # queries by the ms that they took

    def record(self, what: str, start_ns: int, end_ns: int, parts: Sequence[Part], rows: int | None, ms: float) -> None:
        """Record a query for the trades of `what` in [start_ns, end_ns).

        rows: the number of rows that it returned, None if unknown. ms: the time that it took.
        """
        self._total += 1
        self._seconds += ms / 1000
        self._ms[min(LONGEST_MS, int(ms))] += 1
        self._failed += any(part.problem for part in parts)
        self._by_memory += all(part.source == MEMORY for part in parts)
        if self.slow_ms and ms > self.slow_ms:
            self._slow += 1
            log.warning("slow query of=%s from_ns=%d span_s=%.1f rows=%s ms=%.0f plan='%s'", what, start_ns,
                        (end_ns - start_ns) / NS_PER_S, "?" if rows is None else rows, ms, plan(parts, ms))

    def record_failure(self, ms: float) -> None:
        """Record a query that ended with an error."""
        self._total += 1
        self._failed += 1
        self._seconds += ms / 1000
        self._ms[min(LONGEST_MS, int(ms))] += 1

    def figures(self) -> dict[str, Any]:
        """Return total, failed, slow, seconds; mean_ms, p99_ms and memory_ratio, which are null before the first query."""
        found: dict[str, Any] = {"total": self._total, "failed": self._failed, "slow": self._slow,
                                 "seconds": round(self._seconds, 6), "mean_ms": None, "p99_ms": None, "memory_ratio": None}
        if self._total:
            found |= {"mean_ms": round(self._seconds * 1000 / self._total, 3),
                      "p99_ms": int(np.searchsorted(np.cumsum(self._ms), 0.99 * self._total)),
                      "memory_ratio": round(self._by_memory / self._total, 4)}
        return found


def plan(parts: Sequence[Part], ms: float) -> str:
    """Return the times of the parts: `recent 12 ms, 300 rows; journal 340 ms, 4,000 rows of 3 segments; merge 5 ms`."""
    texts = [f"{part.source} {part.ms:.0f} ms" + ("" if part.rows is None else f", {part.rows:,} rows")
             + (f" {part.detail}" if part.detail else "")
             + (f" ({one_line(part.problem, SHOWN)})" if part.problem else "") for part in parts]
    rest_ms = ms - sum(part.ms for part in parts)
    return "; ".join([*texts, f"merge {max(0.0, rest_ms):.0f} ms"])
