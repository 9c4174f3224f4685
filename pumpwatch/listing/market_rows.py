"""Validate a list of markets, once, before anything acts on it, as `validation` does with notices."""

from __future__ import annotations

from dataclasses import dataclass

from pumpwatch.errors import BadFrame
from pumpwatch.hookspecs import Market, MarketSource
from pumpwatch.listing.validation import RejectedRow, call, checked_coin, items, message_of, shown

MARKETS = 20_000  # in one list; real lists have 200 to 700
SYMBOL_LENGTH = 64


@dataclass(frozen=True, slots=True)
class MarketRows:
    """A validated list. coins: symbol -> coin, of the markets in one of the source's quotes."""

    coins: dict[str, str]
    rejected: list[RejectedRow]


def checked_markets(source: MarketSource, body: bytes, now_ns: int) -> MarketRows:
    """Have a source parse a list of markets, and return those in its quotes.

    Raises BadFrame where it is not such a list, and where no market of it is in one of the quotes: such a list is broken.
    """
    coins: dict[str, str] = {}
    rejected: list[RejectedRow] = []
    for given in items(call(source.parse, body)):
        if len(coins) + len(rejected) >= MARKETS:
            raise BadFrame(f"the list has more than {MARKETS} markets")
        try:
            market = _checked(given)
            if market.quote in source.quotes:
                coins[market.symbol] = checked_coin(market.coin)
        except BadFrame as error:
            rejected.append(RejectedRow(error.message, shown(given)))
    if not coins:
        raise BadFrame(f"the list has no market in {', '.join(source.quotes)}")
    return MarketRows(coins, rejected)


def _checked(given: object) -> Market:
    if isinstance(given, BadFrame):  # the source's way to report a row that it cannot read
        raise BadFrame(message_of(given))
    if type(given) is not Market:
        raise BadFrame(f"a row is a {type(given).__name__}, not a Market")
    symbol: object = given.symbol
    if type(symbol) is not str or not 0 < len(symbol) <= SYMBOL_LENGTH or not symbol.isprintable() or not symbol.isascii():
        raise BadFrame(f"a market's symbol is not 1 to {SYMBOL_LENGTH} printable characters")
    return given
