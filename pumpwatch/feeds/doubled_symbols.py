"""Decides which symbols of a venue are read on two connections: those of the config, and coins requested at run time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from pumpwatch.config import TopByVolume, VenueConfig

KEPT = 1.2  # a symbol stays doubled down to rank KEPT times `top`, because ranks change all the time


class DoubledSymbols:
    """The choice for one venue. `symbols_of` returns a coin's symbols there."""

    def __init__(self, config: VenueConfig, symbols_of: Callable[[str], set[str]]) -> None:
        self._wanted, self._symbols_of = config.redundancy, symbols_of
        self._coins: Counter[str] = Counter()
        self._top: set[str] = set()

    def double(self, coin: str) -> None:
        """Read a coin twice until `release` was called as often as `double`."""
        self._coins[coin] += 1

    def release(self, coin: str) -> None:
        """Undo one `double`; a coin that was not doubled is ignored."""
        self._coins[coin] -= 1
        self._coins = +self._coins

    def among(self, volumes: Mapping[str, float]) -> set[str]:
        """Return the symbols to read twice. volumes: the volume of each symbol that is read."""
        wanted, coins = self._wanted, {symbol for coin in self._coins for symbol in self._symbols_of(coin)}
        if isinstance(wanted, TopByVolume):
            self._top = self._largest(volumes, wanted.top)
            return self._top | (coins & volumes.keys())
        if isinstance(wanted, list):
            return volumes.keys() & (coins | set(wanted))
        return set(volumes) if wanted > 1 else volumes.keys() & coins

    def _largest(self, volumes: Mapping[str, float], top: int) -> set[str]:
        """Return the symbols with the largest volumes; a doubled one leaves only when it has fallen well below the others."""
        ranked = sorted(volumes, key=lambda symbol: -volumes[symbol])
        kept = [symbol for symbol in ranked[: int(KEPT * top)] if symbol in self._top]
        return set([*kept, *(symbol for symbol in ranked if symbol not in self._top)][:top])
