"""buy_first: buy at once, on the market that trades most, and hold."""

from __future__ import annotations

from pumpwatch import Broker, Listing, SeenTrade, Strategy, StrategyPlugin, hookimpl


class BuyFirst(Strategy):
    """Buys once: spot, or futures if the run has leverage; if nothing has traded yet, at the first trade."""

    def on_listing(self, listing: Listing, broker: Broker) -> None:
        """Buy on the market with the largest volume so far."""
        self.bought = False
        kind = "futures" if broker.leverage > 1 else "spot"
        kinds = {broker.market_type(market) for market in broker.markets}
        self.markets = [market for market in broker.markets if broker.market_type(market) == kind or kind not in kinds]
        traded = [market for market in self.markets if broker.last(market) is not None]
        if traded:
            self.buy(max(traded, key=broker.volume), broker)

    def on_trade(self, trade: SeenTrade, broker: Broker) -> None:
        """Buy at the first trade if no market had traded before."""
        if not self.bought and trade.market in self.markets:
            self.buy(trade.market, broker)

    def buy(self, market: str, broker: Broker) -> None:
        """Send the one order."""
        broker.buy(market, quote=broker.size)
        self.bought = True


@hookimpl
def paper_strategies() -> list[StrategyPlugin]:
    """Return the strategy."""
    return [StrategyPlugin(name="buy_first", create=BuyFirst, about="buys at once on the market that trades most")]
