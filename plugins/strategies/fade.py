"""fade: sell the peak short on a futures market, once the price has come back from it."""

from __future__ import annotations

from pumpwatch import Broker, Listing, SeenTrade, Strategy, StrategyPlugin, hookimpl

RISE = 0.05  # from the price at the listing to the peak
BACK = 0.03  # from the peak


class Fade(Strategy):
    """Sells short once, after a futures price has risen by RISE and then fallen by BACK."""

    def on_listing(self, listing: Listing, broker: Broker) -> None:
        """Record the prices at the listing."""
        self.sold = False
        self.start = {market: price for market in broker.markets if (price := broker.last(market)) is not None}
        self.peak = dict(self.start)

    def on_trade(self, trade: SeenTrade, broker: Broker) -> None:
        """Sell after the peak."""
        if self.sold or broker.market_type(trade.market) != "futures":
            return
        start = self.start.setdefault(trade.market, trade.price)
        peak = self.peak[trade.market] = max(self.peak.get(trade.market, trade.price), trade.price)
        if peak >= start * (1 + RISE) and trade.price <= peak * (1 - BACK):
            broker.sell(trade.market, quote=broker.size)
            self.sold = True


@hookimpl
def paper_strategies() -> list[StrategyPlugin]:
    """Return the strategy."""
    return [StrategyPlugin(name="fade", create=Fade, about="sells a futures market short once it comes back from its peak")]
