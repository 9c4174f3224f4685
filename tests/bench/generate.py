"""Trades of the simulated markets as batches, without venues in between: for measuring the stores at full size."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_MS, NS_PER_S
from pumpwatch.model import FUTURES, NO_SEQUENCE, SPOT, Instrument, TradeBatch
from pumpwatch.sim.market import SimulatedMarket, coins
from pumpwatch.sim.rows import Rows, SymbolSpec, SymbolTable

MARKETS = (SPOT, FUTURES)
COINS = 448  # a market has that many symbols, as Binance's has
LATENCY_NS = 12 * NS_PER_MS  # from a trade's own time to ours


class Trades:
    """A stream of batches as the collector commits them: spot and futures in one, in order of arrival."""

    def __init__(self, catalogue: Catalogue, start_ns: int, rate: int, batch_s: float = 0.07, seed: int = 7) -> None:
        self.now_ns = start_ns
        self._rate, self._batch_ns = rate, int(batch_s * NS_PER_S)
        table = SymbolTable([SymbolSpec(
            symbol=f"{coin.name}USDT", coin=coin.name, base=coin.name, quote="USDT", price=coin.price,
            price_decimals=_price_decimals(coin.price), quantity_decimals=3) for coin in coins(COINS)])
        self._markets = [SimulatedMarket(table, (seed, number), first_id=1_000_000_000, unit_ns=NS_PER_MS, flag_shares={})
                         for number in range(len(MARKETS))]
        listed = [Instrument(symbol=one.symbol, base=one.base, quote="USDT") for one in table.specs]
        self._ids = [np.array([catalogue.add(("binance", market), one) for one in listed], np.int32)
                     for market in MARKETS]
        self._debt = 0.0

    def coin(self, rank: int) -> list[int]:
        """Return the instruments of the coin at this rank by its number of trades (0: the busiest), on all markets."""
        order = np.argsort(-self._markets[0].weights, kind="stable")
        return [int(ids[order[rank]]) for ids in self._ids]

    def share(self, rank: int) -> float:
        """Return the coin's share of all trades."""
        return float(np.sort(self._markets[0].weights)[::-1][rank])

    def batches(self, trades: int) -> Iterator[TradeBatch]:
        """Yield batches until at least so many trades have been made; time goes on from where it was."""
        made = 0
        while made < trades:
            self._debt += self._rate * self._batch_ns / NS_PER_S / len(MARKETS)
            count = int(self._debt)
            self._debt -= count
            until_ns = self.now_ns + self._batch_ns
            parts = [market.next_trades(count, self.now_ns, until_ns) for market in self._markets]
            batch = self._joined(parts)
            self.now_ns = until_ns
            made += len(batch)
            yield batch

    def _joined(self, parts: list[Rows]) -> TradeBatch:
        stamp = np.concatenate([part.timestamp for part in parts])
        order = np.argsort(stamp, kind="stable")
        received = stamp[order] + LATENCY_NS
        received -= received % (10 * NS_PER_MS)  # the reader looks every 10 ms: frames of one look share their time
        return TradeBatch(
            stamp[order],
            np.concatenate([ids[part.symbol] for ids, part in zip(self._ids, parts, strict=True)])[order],
            np.concatenate([part.prices() for part in parts])[order],
            np.concatenate([part.quantities() for part in parts])[order],
            np.concatenate([part.sell for part in parts])[order].astype(np.uint8),
            np.concatenate([part.trade_id for part in parts])[order],
            np.full(len(stamp), NO_SEQUENCE, np.int64),
            received + 10 * NS_PER_MS,
            np.concatenate([part.flags for part in parts])[order])


def _price_decimals(price: float) -> int:
    """Return the decimals a venue would quote such a price with: five digits that matter, at most nine places."""
    return int(np.clip(4 - np.floor(np.log10(price)), 1, 9))
