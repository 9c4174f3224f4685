"""momentum: wait for the first market that rises, and buy there."""

from __future__ import annotations

from pumpwatch import Broker, Listing, SeenTrade, Strategy, StrategyPlugin, hookimpl

RISE = 0.02  # from the price at the listing


class Momentum(Strategy):
    """Buys once, on the first market whose price is RISE above that at the listing."""

    def on_listing(self, listing: Listing, broker: Broker) -> None:
        """Record the prices at the listing."""
        self.bought = False
        self.start = {market: price for market in broker.markets if (price := broker.last(market)) is not None}

    def on_trade(self, trade: SeenTrade, broker: Broker) -> None:
        """Buy at the first rise."""
        if not self.bought and trade.price >= self.start.setdefault(trade.market, trade.price) * (1 + RISE):
            broker.buy(trade.market, quote=broker.size)
            self.bought = True


@hookimpl
def paper_strategies() -> list[StrategyPlugin]:
    """Return the strategy."""
    return [StrategyPlugin(name="momentum", create=Momentum, about="buys where the price is first 2 % above that at the listing")]
