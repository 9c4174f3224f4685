"""What a running collector says of itself: one JSON file in its data folder, replaced each second.

`pumpwatch status`, the health summary and the benchmark read it. Rates are over the last ten seconds.
"""

from __future__ import annotations

import os
import resource
from collections import deque
from typing import TYPE_CHECKING, Any

import msgspec

from pumpwatch import __version__
from pumpwatch.ops.status_file import FILE
from pumpwatch.store.committer import percentile_ms

if TYPE_CHECKING:
    from pumpwatch.app.collector import Collector

RATE_OVER_S = 10
MODE = 0o640  # it names what is collected and how it fares


class Status:
    """Makes and writes the figures of one collector."""

    def __init__(self, collector: Collector) -> None:
        self._of = collector
        self._journal_bytes = 0  # as of the last write: a file each hour is asked for its size
        self._began = collector.clock.monotonic()
        self._history: deque[tuple[float, dict[str, float]]] = deque(maxlen=RATE_OVER_S + 1)

    def now(self, ended: bool = False) -> dict[str, Any]:
        """Return the figures: counts since the start, rates, and what waits where."""
        one = self._of
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return {
            "pid": 0 if ended else os.getpid(), "version": __version__, "started_at_ns": one.started_at_ns,
            "up_s": round(one.clock.monotonic() - self._began, 1), "written_at_ns": one.clock.now_ns(),
            "written_monotonic_s": one.clock.monotonic(),  # the machine's: another process can compare, whatever the date says
            "cpu_s": usage.ru_utime + usage.ru_stime, "max_rss_bytes": usage.ru_maxrss * 1024,
            "venues": self._venues(), "journal": self._journal(),
            "sinks": [{"name": name, "state": drain.state, "backlog_trades": drain.lag_rows}
                      for name, drain in one.drains.items()],
            "recent": {"trades": one.recent.rows, "bytes": one.recent.nbytes},
            "listing": one.listings.status() if one.listings else {},
            "counters": [{"name": name, "value": value, **labels} for name, labels, value in one.stats.items()],
        }

    def write(self, ended: bool = False) -> None:
        """Replace the file; a reader sees the old one or the new one, whole. A full disk leaves the old one."""
        if not self._of.memory_thread.apply(self._put, (self.now(ended),)):
            self._of.stats.add("figures_not_written_total")

    def _put(self, figures: dict[str, Any]) -> bool:
        """In a thread: a disk that is slow holds up nothing else."""
        path = self._of.folder / FILE
        fresh = path.with_suffix(".new")
        figures["journal"]["bytes"] = self._journal_bytes = self._of.journal.size_bytes()
        try:
            fresh.unlink(missing_ok=True)  # one that a killed run left may have another mode
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, MODE), "wb") as out:
                out.write(msgspec.json.encode(figures))
            fresh.replace(path)
        except OSError:
            return False
        return True

    def _venues(self) -> list[dict[str, Any]]:
        stats, now = self._of.stats, self._of.clock.monotonic()
        totals = {feeds.venue.name: stats.get("trades_total", venue=feeds.venue.name) for feeds in self._of.venues}
        self._history.append((now, totals))
        then, before = self._history[0]
        rows = []
        for feeds in self._of.venues:
            name = feeds.venue.name
            rate = (totals[name] - before.get(name, 0)) / (now - then) if now > then else 0.0
            opened = stats.get("gaps_total", venue=name, state="open") - stats.get("gaps_total", venue=name, state="filled")
            rows.append({**feeds.status(), "trades_total": int(totals[name]), "trades_per_s": round(rate, 1),
                         "lag_ms": round(stats.get("lag_ms", venue=name), 1), "gaps_open": int(opened),
                         "doubled_total": int(stats.get("doubled_trades_total", venue=name)),
                         "quarantined_total": int(stats.get("quarantined_frames_total", venue=name))})
        return rows

    def _journal(self) -> dict[str, Any]:
        one = self._of
        latency = one.committer.latency_ms
        return {"backlog_trades": one.committer.waiting_trades, "bytes": self._journal_bytes,
                "commits": int(one.stats.get("commits_total")), "durable_trades": int(one.stats.get("durable_trades_total")),
                "last_commit_ns": int(one.stats.get("last_commit_ns")),
                "dropped_trades": int(one.stats.get("dropped_trades_total")),
                "durable_ms_p50": percentile_ms(latency, 0.5), "durable_ms_p99": percentile_ms(latency, 0.99)}
