"""Put the newest prices of recorded trades into Redis, for other processes and hosts: one write for each venue and step."""

from __future__ import annotations

from collections.abc import Callable

import gevent

from pumpwatch.catalogue import Catalogue
from pumpwatch.market.last_trades import LastTrades
from pumpwatch.model import TradeBatch
from pumpwatch.redis.connection import RedisConnection
from pumpwatch.redis.tickers import LastPrices

STEP_S = 1.0


class PriceSharing:
    """Notes durable batches and shares what they changed. Without Redis it does nothing."""

    def __init__(self, redis: RedisConnection | None, catalogue: Catalogue) -> None:
        self._redis, self._catalogue, self._last = redis, catalogue, LastTrades()
        self._shared = LastPrices(redis) if redis is not None else None

    def note(self, batch: TradeBatch) -> None:
        """Take a batch. Quick; on the hub."""
        if self._shared is not None:
            self._last.note(batch)

    def start(self, spawn: Callable[[str, Callable[[], None]], object]) -> None:
        """Share from now on."""
        if self._shared is not None:
            spawn("shared prices", self._run)

    def share(self) -> None:
        """Share what has changed since the last time. Where Redis is away the next step shares newer prices."""
        if self._shared is None:
            return
        by_venue: dict[str, dict[str, tuple[int, float]]] = {}
        changed = self._last.changed()
        for (exchange, market_type, symbol), last in zip(self._catalogue.names(list(changed)), changed.values(), strict=True):
            by_venue.setdefault(f"{exchange}.{market_type}", {})[symbol] = (last.at_ns, last.price)
        for venue, prices in by_venue.items():
            self._shared.put(venue, prices)

    def _run(self) -> None:
        while True:
            gevent.sleep(STEP_S)
            self.share()
