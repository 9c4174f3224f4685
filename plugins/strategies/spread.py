"""spread: buy the coin where it is cheap, and sell it short where it is expensive, until the prices meet."""

from __future__ import annotations

from pumpwatch import Broker, Listing, SeenTrade, Strategy, StrategyPlugin, hookimpl

OPEN, CLOSE = 0.01, 0.002  # price differences that open and close the pair


class Spread(Strategy):
    """Opens one pair: long on any market, short on a futures market of another venue. It closes both once the prices meet."""

    def on_listing(self, listing: Listing, broker: Broker) -> None:
        """Record the prices at the listing."""
        self.pair: tuple[str, str] | None = None
        self.closed = False
        self.prices = {market: price for market in broker.markets if (price := broker.last(market)) is not None}

    def on_trade(self, trade: SeenTrade, broker: Broker) -> None:
        """Open or close the pair."""
        self.prices[trade.market] = trade.price
        if self.closed:
            return
        if self.pair is None:
            self.look(trade.market, broker)
        elif self.apart(*self.pair) <= CLOSE and not broker.open_orders():
            for market in self.pair:
                broker.close(market)
            self.closed = True

    def apart(self, cheap: str, dear: str) -> float:
        """Return the share by which the price of `dear` exceeds that of `cheap`."""
        return float(self.prices[dear] / self.prices[cheap] - 1)

    def look(self, market: str, broker: Broker) -> None:
        """Open a pair of this market and another one if their prices differ enough."""

        for other in sorted(self.prices.keys() - {market}):
            for cheap, dear in ((market, other), (other, market)):
                if broker.market_type(dear) == "futures" and OPEN <= self.apart(cheap, dear) < 1:
                    quantity = float(broker.size) / self.prices[dear]
                    broker.buy(cheap, quantity)
                    broker.sell(dear, quantity)
                    self.pair = (cheap, dear)
                    return


@hookimpl
def paper_strategies() -> list[StrategyPlugin]:
    """Return the strategy."""
    return [StrategyPlugin(name="spread", create=Spread, about="buys where the coin is cheap, sells short where it is expensive")]
