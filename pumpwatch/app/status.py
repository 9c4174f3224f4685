"""Write a running collector's figures to `status.json` in its data folder, each second.

`pumpwatch status`, the health summary and the benchmark read the file. Rates are over the last ten seconds.
"""

from __future__ import annotations

import math
import os
import resource
from collections import deque
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np

from pumpwatch import __version__
from pumpwatch.app.parts import CollectorParts
from pumpwatch.clock import NS_PER_S
from pumpwatch.model import Int64
from pumpwatch.ops.machine import open_files
from pumpwatch.ops.status_file import FILE
from pumpwatch.store.committer import percentile_ms

RATE_OVER_S = 10
MIN_STEP_S = 0.9  # between two entries of the history, so that frequent calls do not shorten it
EXACT_MS, STEP = 100, 1.015  # durable_ms has each ms up to the first, then bins that grow by this factor
MODE = 0o640  # the file names the venues and their problems: owner and group only


class Status:
    """Collects and writes the figures of one collector."""

    def __init__(self, collector: CollectorParts) -> None:
        self._collector = collector
        self._journal_bytes = 0  # as of the last write, which reads the size of every file
        self._began = collector.clock.monotonic()
        self._files: dict[str, int] = {}  # as of the last write, because reading may block
        self._read: dict[str, tuple[float, float]] = {}  # by venue: trades read, and since when the number is unchanged
        self.last: dict[str, Any] = {}  # the figures of the last write, empty before
        self._history: deque[tuple[float, dict[str, float]]] = deque(maxlen=RATE_OVER_S + 1)

    def now(self, ended: bool = False) -> dict[str, Any]:
        """Return the figures: counts since the start, rates, and backlogs. An ended collector has pid 0."""
        collector = self._collector
        now_s = collector.clock.monotonic()
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return {
            "pid": 0 if ended else os.getpid(), "version": __version__, "started_at_ns": collector.started_at_ns,
            "up_s": round(now_s - self._began, 1), "written_at_ns": collector.clock.now_ns(),
            # the machine's monotonic clock: another process can compare it, whatever the date says
            "written_monotonic_s": now_s,
            "cpu_s": usage.ru_utime + usage.ru_stime, "max_rss_bytes": usage.ru_maxrss * 1024,
            "files": self._files,
            "clock_offset_s": collector.http.clocks.offset_s(collector.clock.now_ns()),
            "venues": self._venues(), "journal": self._journal(),
            "sinks": [{"name": name, "state": drain.state, "backlog_trades": drain.lag_rows,
                       "calls": collector.sink_calls[name].rows()}
                      for name, drain in collector.drains.items()],
            "stores": collector.stores.rows(),
            "recent": {"trades": collector.recent.rows, "bytes": collector.recent.nbytes},
            "disk": {**collector.disk.figures(), "tiers": self._tiers()}, "memory": collector.memory.figures(),
            "backfill": collector.backfill.figures() if collector.backfill else {},
            "page": collector.serving.url, "listing": collector.listing_status(), "notify": collector.notifying.notifier.status(),
            "jobs": collector.job_rows(), "queries": collector.queries.figures(), "active_alerts": collector.alert_rows(),
            "backup": collector.backup_status(), "redis": collector.redis.figures() if collector.redis else {},
            "rollout": collector.rollout_status(), "market": collector.market_status(), "cluster": collector.cluster_status(),
            "counters": [{"name": name, "value": value, **labels} for name, labels, value in collector.stats.items()],
        }

    def _tiers(self) -> dict[str, Any]:
        """Return the size of memory, journal and sinks, and how long each keeps trades."""
        collector, store = self._collector, self._collector.config.store
        return {"hot": {"bytes": collector.recent.nbytes, "keeps_s": store.recent_minutes * 60},
                "warm": {"bytes": self._journal_bytes, "keeps_s": store.retention_hours * 3600},
                "cold": [tier.figures() for tier in collector.cold_tiers]}

    def write(self, ended: bool = False) -> None:
        """Replace the file in one step: a reader sees the old figures or the new ones. On a full disk the old ones stay."""
        figures = self.now(ended)
        self.last = figures
        if not self._collector.memory_thread.apply(self._write_file, (figures,)):
            self._collector.stats.add("figures_not_written_total")

    def _write_file(self, figures: dict[str, Any]) -> bool:
        """Write the file in a thread, so that a slow disk does not block the hub; return whether the disk took it."""
        path = self._collector.folder / FILE
        fresh = path.with_suffix(".new")
        figures["journal"]["bytes"] = self._journal_bytes = self._collector.journal.size_bytes()
        self._files = open_files()
        try:
            fresh.unlink(missing_ok=True)  # a killed run may have left one with another mode
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, MODE), "wb") as out:
                out.write(msgspec.json.encode(figures))
            fresh.replace(path)
        except OSError:
            return False
        return True

    def _silent_s(self, name: str, trades: float, now_s: float) -> float:
        """Return the time since a venue's last trade, or since the start, in s."""
        known, since_s = self._read.get(name, (0.0, self._began))
        if trades != known:
            since_s = now_s
        self._read[name] = trades, since_s
        return round(now_s - since_s, 1)

    def _venues(self) -> list[dict[str, Any]]:
        stats, now = self._collector.stats, self._collector.clock.monotonic()
        totals = {feeds.venue.name: stats.get("trades_total", venue=feeds.venue.name) for feeds in self._collector.venues}
        if not self._history or now - self._history[-1][0] >= MIN_STEP_S:
            self._history.append((now, totals))
        then, before = self._history[0]
        rows = []
        for feeds in self._collector.venues:
            name = feeds.venue.name
            rate = (totals[name] - before.get(name, 0)) / (now - then) if now > then else 0.0
            backfill = self._collector.backfill
            gaps = backfill.gap_counts(feeds.venue.exchange, feeds.venue.market_type) if backfill else {}
            rows.append({**feeds.status(), "trades_total": int(totals[name]), "trades_per_s": round(rate, 1),
                         "lag_ms": round(stats.get("lag_ms", venue=name), 1), "gaps_open": gaps.get("open", 0),
                         "silent_s": 0.0 if feeds.reads_nothing else self._silent_s(name, totals[name], now),
                         "gaps_filled": gaps.get("filled", 0), "gaps_lost": gaps.get("lost", 0),
                         "doubled_total": int(stats.get("doubled_trades_total", venue=name)),
                         "quarantined_total": int(stats.get("quarantined_frames_total", venue=name))})
        return rows

    def _journal(self) -> dict[str, Any]:
        committer, stats = self._collector.committer, self._collector.stats
        oldest_ns = committer.oldest_waiting_ns
        waiting_s = max(0.0, (self._collector.clock.now_ns() - oldest_ns) / NS_PER_S) if oldest_ns else 0.0
        return {"backlog_trades": committer.waiting_trades, "bytes": self._journal_bytes,
                "oldest_waiting_s": round(waiting_s, 3),
                "commits": int(stats.get("commits_total")), "durable_trades": int(stats.get("durable_trades_total")),
                "last_commit_ns": int(stats.get("last_commit_ns")),
                "dropped_trades": int(stats.get("dropped_trades_total")),
                "durable_ms_p50": percentile_ms(committer.latency_ms, 0.5),
                "durable_ms_p99": percentile_ms(committer.latency_ms, 0.99),
                # all of it since the start, so that a reader can take the percentiles of any time between two readings
                "durable_ms": in_bins(committer.latency_ms)}


def in_bins(latency_ms: Int64) -> list[list[int]]:
    """Return trades by ms as at most about 400 pairs (highest ms of a bin, trades); the bounds never change.

    Bins are 1 ms wide up to EXACT_MS, and 1.5 % wide beyond it; bins without trades are left out.
    """
    starts, highest = _bins(len(latency_ms))
    return [[ms, count] for ms, count in zip(highest, np.add.reduceat(latency_ms, starts).tolist(), strict=True) if count]


@lru_cache(1)
def _bins(size: int) -> tuple[list[int], list[int]]:
    """Return the lowest and the highest ms of each bin."""
    starts = [*range(EXACT_MS + 2)]
    while (following := math.ceil(starts[-1] * STEP)) < size:
        starts.append(following)
    return starts, [*(start - 1 for start in starts[1:]), size - 1]
