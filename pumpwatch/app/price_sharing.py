"""Write the newest prices of recorded trades to Redis, for other processes and hosts: one write for each venue and step."""

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
    """Collects the last prices of durable batches and shares changed ones. Without Redis it does nothing."""

    def __init__(self, redis: RedisConnection | None, catalogue: Catalogue) -> None:
        self._redis, self._catalogue, self._last = redis, catalogue, LastTrades()
        self._shared = LastPrices(redis) if redis is not None else None

    def add(self, batch: TradeBatch) -> None:
        """Add a durable batch. Quick; on the hub."""
        if self._shared is not None:
            self._last.note(batch)

    def start(self, spawn: Callable[[str, Callable[[], None]], object]) -> None:
        """Share prices every STEP_S from now on."""
        if self._shared is not None:
            spawn("shared prices", self._run)

    def share(self) -> None:
        """Share the prices that have changed since the last step. If Redis is away, the next step shares newer prices."""
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
