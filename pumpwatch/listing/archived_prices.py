"""Read the prices of an archive back, for a picture of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from pumpwatch.clock import NS_PER_S
from pumpwatch.errors import StorageError
from pumpwatch.listing.books import SUFFIX
from pumpwatch.model import Float64


class _Symbol(msgspec.Struct):
    symbol: str
    multiplier: int = 1


class _Trades(msgspec.Struct):
    timestamp: list[int]
    symbol: list[str]
    price: list[float | None]


class _Raw(msgspec.Struct):
    announced_at_ns: int
    symbols: list[_Symbol]
    trades: _Trades


@dataclass(frozen=True, slots=True)
class Prices:
    """Trades of all venues: seconds after the publication, and the price of one coin; in no order."""

    seconds: Float64
    price: Float64


def read_prices(archive: Path) -> Prices:
    """Return the prices of an archive's raw files. Raises StorageError where one cannot be read."""
    seconds, prices = [np.empty(0)], [np.empty(0)]
    for path in sorted((archive / "raw").glob("*/*.json")):
        if path.name.endswith(SUFFIX):
            continue
        try:
            raw = msgspec.json.decode(path.read_bytes(), type=_Raw)
        except (OSError, msgspec.DecodeError) as error:
            raise StorageError(f"{path}: the archive cannot be read: {error}",
                               "make it again: pumpwatch listing replay COIN --at TIME") from error
        multipliers = {row.symbol: row.multiplier for row in raw.symbols}
        bundle = np.array([multipliers.get(symbol, 1) for symbol in raw.trades.symbol], np.float64)
        price = np.array(raw.trades.price, np.float64)  # null becomes NaN
        usable = np.isfinite(price) & (price > 0)
        seconds.append(((np.array(raw.trades.timestamp, np.int64) - raw.announced_at_ns) / NS_PER_S)[usable])
        prices.append((price / bundle)[usable])
    return Prices(np.concatenate(seconds), np.concatenate(prices))
