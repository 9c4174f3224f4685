"""Read the prices of an archive, for a chart."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pumpwatch.clock import NS_PER_S
from pumpwatch.listing.archived_trades import read_trades, trade_files
from pumpwatch.model import Float64


@dataclass(frozen=True, slots=True)
class Prices:
    """Trades of all venues, unordered: seconds after the publication, and the price of one coin."""

    seconds: Float64
    price: Float64


def read_prices(archive: Path) -> Prices:
    """Return the prices of an archive's raw files. Raises StorageError if one is unreadable."""
    seconds, prices = [np.empty(0)], [np.empty(0)]
    for path in trade_files(archive):
        raw = read_trades(path)
        multipliers = {row.symbol: row.multiplier for row in raw.symbols}
        bundle = np.array([multipliers.get(symbol, 1) for symbol in raw.trades.symbol], np.float64)
        price = np.array(raw.trades.price, np.float64)  # null becomes NaN
        usable = np.isfinite(price) & (price > 0)
        seconds.append(((np.array(raw.trades.timestamp, np.int64) - raw.announced_at_ns) / NS_PER_S)[usable])
        prices.append((price / bundle)[usable])
    return Prices(np.concatenate(seconds), np.concatenate(prices))
