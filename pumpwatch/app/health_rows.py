"""A minute of every venue's health, as the sinks store it in `exchange_health`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pumpwatch.ops.judgement import judge_venue

if TYPE_CHECKING:
    from pumpwatch.app.collector import Collector


class HealthRows:
    """Makes the rows of one collector; counts are since the rows before."""

    def __init__(self, collector: Collector) -> None:
        self._of = collector
        self._before: dict[tuple[str, str], float] = {}  # by counter and venue

    def collect(self) -> list[dict[str, Any]]:
        """Return a row a venue, see `Sink.write_health`."""
        return [self._row(venue) for venue in self._of.figures.now()["venues"]]

    def _row(self, venue: dict[str, Any]) -> dict[str, Any]:
        exchange, market_type = venue["exchange"], venue["market_type"]
        name = f"{exchange}.{market_type}"
        frames = self._of.stats.get("frames_total", venue=name)
        wrong = [one.text for one in judge_venue(venue)]
        return {
            "exchange": exchange, "market_type": market_type, "connections": venue["connections_up"],
            "lag_ms": venue["lag_ms"], "gaps": venue["gaps_open"], "status": status_of(venue),
            "trades": self._since("trades", name, venue["trades_total"]),
            "message_count": self._since("frames", name, frames),
            "last_trade_time": self._last_trade_ns(exchange, market_type),
            "error_message": wrong[0] if wrong else ""}

    def _since(self, counter: str, name: str, total: float) -> int:
        before, self._before[counter, name] = self._before.get((counter, name), 0), total
        return int(total - before)

    def _last_trade_ns(self, exchange: str, market_type: str) -> int:
        ids = list(self._of.catalogue.ids_of((exchange, market_type)).values())
        return int(self._of.ingest.dedupe.last_times(np.array(ids, np.int32)).max()) if ids else 0


def status_of(venue: dict[str, Any]) -> str:
    """Return one word for a venue's figures.

    connected: nothing is wrong with it. degraded: something is, and a connection is up. error: none is up, and a reason is known.
    disconnected: none is up, and none was refused or lost yet.
    """
    if venue["connections_up"]:
        return "degraded" if any(judge_venue(venue)) else "connected"
    return "error" if venue["list_problem"] or venue["problem"] else "disconnected"
