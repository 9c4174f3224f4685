"""The topics of the page: the figures that it shows.

They are derived from the collector's own figures. Rates are of the last second; those of the last five minutes are kept for the
lines that a new page draws.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pumpwatch.api import stores
from pumpwatch.api.broadcast import Topic
from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_MS, NS_PER_S, Clock
from pumpwatch.config import Config
from pumpwatch.errors import StorageError
from pumpwatch.stats import Stats
from pumpwatch.store.listed import ListingRecord

SPAN_S = 300
CPU_OVER = 10  # readings, one per second, over which the CPU share is measured
LISTINGS = 20
WINDOWS = "windows"  # in the figures of listings, beside the sources

Figures = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Sources:
    """The sources of the page's figures. `listings` may wait for the disk, and raises StorageError if it fails."""

    config: Config
    clock: Clock
    stats: Stats
    catalogue: Catalogue
    figures: Callable[[], Figures]
    jobs: Callable[[], Sequence[dict[str, Any]]]
    listings: Callable[[], Sequence[ListingRecord]]
    warnings: Callable[[], Sequence[dict[str, Any]]]


class Rates:
    """The trades of each second, by venue, for SPAN_S seconds."""

    def __init__(self) -> None:
        self.second = 0
        self._at: float | None = None
        self._totals: dict[str, float] = {}
        self._series: dict[str, deque[float]] = {}

    def add(self, now_s: float, totals: dict[str, float]) -> None:
        """Add the total trades by venue at a time; the first call sets the baseline."""
        if self._at is not None and now_s > self._at:
            self.second += 1
            for name, total in totals.items():
                rate = (total - self._totals.get(name, total)) / (now_s - self._at)
                self._series.setdefault(name, deque(maxlen=SPAN_S)).append(round(rate, 1))
        self._at, self._totals = now_s, totals

    def last(self, name: str) -> float:
        """Return the trades per second in the last second."""
        return self._series[name][-1] if name in self._series else 0.0

    def history(self) -> dict[str, Any]:
        """Return the series by venue, with the number of the last second; "" is the sum of all."""
        series = {name: list(values) for name, values in self._series.items()}
        longest = max(map(len, series.values()), default=0)
        padded = [[0.0] * (longest - len(values)) + values for values in series.values()]
        return {"end": self.second, "venues": {"": [round(sum(values), 1) for values in zip(*padded, strict=True)], **series}}


class Topics:
    """The topics of one collector. Call `tick` each second."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._rates = Rates()
        self._cpu: deque[tuple[float, float]] = deque(maxlen=CPU_OVER)
        self._listings: list[dict[str, Any]] = []
        self._coins: tuple[int, list[str]] = (-1, [])

    def all(self) -> list[Topic]:
        """Return all topics in the order in which a page gets them."""
        return [Topic("history", self._rates.history, first=True), Topic("figures", self.figures),
                Topic("boards", self.boards, 2.0), Topic("jobs", self._sources.jobs, 2.0), Topic("log", self._sources.warnings),
                Topic("listings", self.listings, 2.0, waits=True), Topic("coins", self.coins, 5.0)]

    def tick(self) -> None:
        """Add the counts of this second."""
        figures, stats = self._sources.figures(), self._sources.stats
        self._rates.add(self._sources.clock.monotonic(),
                        {name: stats.get("trades_total", venue=name) for name in map(_name, figures.get("venues", ()))})
        if figures and (not self._cpu or self._cpu[-1][0] != figures["written_monotonic_s"]):
            self._cpu.append((figures["written_monotonic_s"], figures["cpu_s"]))

    def figures(self) -> Figures:
        """Return the figures of this second, {} before the first ones. Units are in the keys; sizes without one are bytes."""
        figures = self._sources.figures()
        if not figures:
            return {}
        journal, now_ns = figures["journal"], self._sources.clock.now_ns()
        venues = [self._venue(row, now_ns) for row in figures["venues"]]
        return {
            "second": self._rates.second, "at_ms": now_ns // NS_PER_MS, "version": figures["version"], "up_s": figures["up_s"],
            "rate": round(sum(venue["rate"] for venue in venues), 1), "venues": venues, "cpu": self._cpu_share(),
            "journal": {"backlog": journal["backlog_trades"], "bytes": journal["bytes"], "commits": journal["commits"],
                        "durable": journal["durable_trades"], "dropped": journal["dropped_trades"],
                        "p50_ms": journal["durable_ms_p50"], "p99_ms": journal["durable_ms_p99"]},
            "recent": {**figures["recent"], "minutes": self._sources.config.store.recent_minutes},
            "sinks": [{key: sink[key] for key in ("name", "state", "backlog_trades")} for sink in figures["sinks"]],
            "stores": [stores.small(row) for row in stores.rows_of(figures)],
            "backfill": figures["backfill"], "channels": figures["notify"],
            "windows": figures["listing"].get(WINDOWS, {"open": 0, "not_final": 0}),
            "memory": {key: figures["memory"][key] for key in ("rss_bytes", "limit_bytes", "level")},
            "disk": self._disk(figures["disk"]), "rollout": figures.get("rollout") or {},
        }

    def _venue(self, row: dict[str, Any], now_ns: int) -> dict[str, Any]:
        name = _name(row)
        return {"name": name, "rate": self._rates.last(name), "up": row["connections_up"], "of": row["connections"],
                "down_s": row["down_s"], "age_s": _seconds_since(row.get("connected_ns", 0), now_ns),
                "quiet_s": _seconds_since(row.get("traded_ns", 0), now_ns), "symbols": row["instruments"],
                "subscribed": row["subscribed"], "silent": len(row["silent"]), "lag_ms": row["lag_ms"], "open": row["gaps_open"],
                "filled": row["gaps_filled"], "lost": row["gaps_lost"], "elsewhere": row.get("elsewhere", 0),
                "problem": row["problem"] or row["list_problem"] or row["redundancy_problem"]}

    def _disk(self, disk: Figures) -> Figures:
        """Return the figures of the store's disk, with the used shares at which its levels begin."""
        options = self._sources.config.disk
        limits = [options.clean_up_percent / 100, options.emergency_percent / 100, options.full_percent / 100]
        return {**{key: disk[key] for key in ("free_bytes", "used_share", "level", "days_left")}, "limits": limits}

    def _cpu_share(self) -> float | None:
        """Return the CPU time of the last seconds as a share of a core."""
        if len(self._cpu) < 2:
            return None
        (first_at, first), (last_at, last) = self._cpu[0], self._cpu[-1]
        return round((last - first) / (last_at - first_at), 4)

    def boards(self) -> list[dict[str, Any]]:
        """Return the listing sources: name, up (None: not asked yet), reason, push, answered_ms (0: never)."""
        listing: Figures = self._sources.figures().get("listing", {})
        return [{"name": name, "up": state["up"], "reason": state["reason"], "push": state.get("delivery") == "push",
                 "answered_ms": int(self._sources.stats.get("listing_answered_at_ns", source=name)) // NS_PER_MS}
                for name, state in listing.items() if name != WINDOWS]

    def listings(self) -> list[dict[str, Any]]:
        """Return the last listings, the newest first; if the ledger does not answer, those of the last successful read."""
        try:
            records = self._sources.listings()
        except StorageError:
            return self._listings
        after_ns = int(self._sources.config.listing.after_s * NS_PER_S)
        self._listings = [_listing(record, after_ns) for record in records[:-LISTINGS - 1:-1]]
        return self._listings

    def coins(self) -> list[str]:
        """Return every coin that a venue lists, by name."""
        revision = self._sources.catalogue.revision
        if self._coins[0] != revision:
            self._coins = revision, self._sources.catalogue.coins()
        return self._coins[1]


def _name(row: Figures) -> str:
    return f"{row['exchange']}.{row['market_type']}"


def _seconds_since(at_ns: int, now_ns: int) -> float | None:
    return round(max(0, now_ns - at_ns) / NS_PER_S, 1) if at_ns else None


def _listing(record: ListingRecord, after_ns: int) -> dict[str, Any]:
    listing = record.listing
    return {"id": f"{listing.source}:{listing.notice_id}:{listing.symbol}", "coin": listing.symbol, "source": listing.source,
            "title": listing.title, "announced_ms": listing.announced_at_ns // NS_PER_MS,
            "seen_after_ms": (listing.detected_at_ns - listing.announced_at_ns) / NS_PER_MS,
            "ends_ms": (max(listing.announced_at_ns, listing.detected_at_ns) + after_ns) // NS_PER_MS, "drill": listing.drill,
            "trades": record.trades or 0, "archive": Path(record.archive).name, "problem": record.problem}
