"""A minute of every venue's health, as the sinks store it in `exchange_health`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pumpwatch.app.collector import Collector


class HealthRows:
    """Makes the rows of one collector; counts are since the rows before."""

    def __init__(self, collector: Collector) -> None:
        self._of = collector
        self._before: dict[tuple[str, str], float] = {}  # by counter and venue

    def take(self) -> list[dict[str, Any]]:
        """Return a row a venue, see `Sink.write_health`."""
        return [self._row(venue) for venue in self._of.figures.now()["venues"]]

    def _row(self, venue: dict[str, Any]) -> dict[str, Any]:
        exchange, market_type = venue["exchange"], venue["market_type"]
        name = f"{exchange}.{market_type}"
        frames = self._of.stats.get("frames_total", venue=name)
        status = status_of(venue)
        return {
            "exchange": exchange, "market_type": market_type, "connections": venue["connections_up"],
            "lag_ms": venue["lag_ms"], "gaps": venue["gaps_open"], "status": status,
            "trades": self._since("trades", name, venue["trades_total"]),
            "message_count": self._since("frames", name, frames),
            "last_trade_time": self._last_trade_ns(exchange, market_type),
            "error_message": "" if status == "connected" else venue["list_problem"] or venue["problem"]}

    def _since(self, counter: str, name: str, total: float) -> int:
        before, self._before[counter, name] = self._before.get((counter, name), 0), total
        return int(total - before)

    def _last_trade_ns(self, exchange: str, market_type: str) -> int:
        ids = list(self._of.catalogue.ids_of((exchange, market_type)).values())
        return int(self._of.ingest.dedupe.last_times(np.array(ids, np.int32)).max()) if ids else 0


def status_of(venue: dict[str, Any]) -> str:
    """Return one word for a venue's figures.

    connected: every connection is up and the list of symbols is good. degraded: some are up, or the list is doubtful.
    error: none is up, and a reason is known. disconnected: none is up, and none was refused or lost yet.
    """
    up, wanted, problem = venue["connections_up"], venue["connections"], venue["list_problem"]
    if up:
        return "connected" if up == wanted and not problem else "degraded"
    return "error" if problem or venue["problem"] else "disconnected"
