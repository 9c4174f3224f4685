"""Rows of health figures, one for each venue and minute, for the sinks' table `exchange_health`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pumpwatch.app.parts import CollectorParts
from pumpwatch.ops.judgement import judge_venue


class HealthRows:
    """Makes the rows of one collector. Counts are since the previous rows."""

    def __init__(self, collector: CollectorParts, status: Callable[[], dict[str, Any]]) -> None:
        self._collector, self._status = collector, status
        self._before: dict[tuple[str, str], float] = {}  # by counter and venue

    def collect(self) -> list[dict[str, Any]]:
        """Return one row for each venue, as `Sink.write_health` takes them."""
        return [self._row(venue) for venue in self._status()["venues"]]

    def _row(self, venue: dict[str, Any]) -> dict[str, Any]:
        exchange, market_type = venue["exchange"], venue["market_type"]
        name = f"{exchange}.{market_type}"
        frames = self._collector.stats.get("frames_total", venue=name)
        problems = [problem.detail for problem in judge_venue(venue)]
        return {
            "exchange": exchange, "market_type": market_type, "connections": venue["connections_up"],
            "lag_ms": venue["lag_ms"], "gaps": venue["gaps_open"], "status": status_of(venue),
            "trades": self._since("trades", name, venue["trades_total"]),
            "message_count": self._since("frames", name, frames),
            "last_trade_time": self._last_trade_ns(exchange, market_type),
            "error_message": problems[0] if problems else ""}

    def _since(self, counter: str, name: str, total: float) -> int:
        before, self._before[counter, name] = self._before.get((counter, name), 0), total
        return int(total - before)

    def _last_trade_ns(self, exchange: str, market_type: str) -> int:
        ids = list(self._collector.catalogue.ids_of((exchange, market_type)).values())
        return int(self._collector.ingest.dedupe.last_times(np.array(ids, np.int32)).max()) if ids else 0


def status_of(venue: dict[str, Any]) -> str:
    """Return one word for a venue's figures.

    connected: a connection is up, without a known problem. degraded: a connection is up, with a known problem. error: all
    connections are down, with a known reason. disconnected: all connections are down, and none has failed yet.
    """
    if venue["connections_up"]:
        return "degraded" if any(judge_venue(venue)) else "connected"
    return "error" if venue["list_problem"] or venue["problem"] else "disconnected"
