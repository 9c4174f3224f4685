"""A config narrowed to some exchanges and coins: `collect --exchange NAME --coin COIN`."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from msgspec.structs import replace

from pumpwatch.config import Config, ExchangeConfig
from pumpwatch.errors import UsageError
from pumpwatch.listing.inbox import coin_name
from pumpwatch.plugins import Plugins


def narrowed(config: Config, plugins: Plugins, exchanges: Sequence[str], coins: Sequence[str]) -> Config:
    """Return a config that collects only these exchanges, and only these coins of each market; an empty list means all.

    Options of an exchange stay. With coins, the symbols file is not written, because it would list only these coins. Raises
    UsageError for an exchange that no plugin offers or the config does not collect, and for an invalid name of a coin.
    """
    offered = list(dict.fromkeys(venue.exchange for venue in plugins.venues))
    collected = list(config.exchanges) or offered
    for name in exchanges:
        _check(name, offered, "no plugin offers it", "offered")
        _check(name, collected, "the config does not collect it", "collected")
    names = [coin_name(coin) for coin in coins]
    chosen = {name: config.exchange(name) for name in collected if not exchanges or name in exchanges}
    if names:
        chosen = {name: _with_coins(exchange, plugins.markets(name), names) for name, exchange in chosen.items()}
    return config.changed(exchanges=chosen, writes_symbols=config.writes_symbols and not names)


def _check(name: str, known: Sequence[str], problem: str, what: str) -> None:
    if name not in known:
        near = difflib.get_close_matches(name, known, 1, 0.5)
        hint = f"did you mean `{near[0]}`? " if near else ""
        raise UsageError(f"--exchange {name}: {problem}", f"{hint}{what}: {', '.join(known)}")


def _with_coins(exchange: ExchangeConfig, markets: Sequence[str], coins: list[str]) -> ExchangeConfig:
    return replace(exchange, **{market: replace(exchange.market(market), coins=coins) for market in markets})
