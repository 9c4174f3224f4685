"""Validate a list of markets before anything uses it, as `validation` does with notices."""

from __future__ import annotations

from dataclasses import dataclass

from pumpwatch.errors import BadFrame
from pumpwatch.hookspecs import Market, MarketSource
from pumpwatch.listing.validation import RejectedRow, call, checked_coin, items, message_of, shown

MARKETS = 20_000  # in one list; real lists have 200 to 700
SYMBOL_LENGTH = 64


@dataclass(frozen=True, slots=True)
class MarketRows:
    """A validated list. coins: symbol -> coin, for markets in one of the source's quotes."""

    coins: dict[str, str]
    rejected: list[RejectedRow]


def checked_markets(source: MarketSource, body: bytes, now_ns: int) -> MarketRows:
    """Parse a list of markets with the source's code; return those in its quotes.

    Raises BadFrame if it is not such a list, or if none of its markets is in these quotes, which means that the list is broken.
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
    if isinstance(given, BadFrame):  # a row that the source could not read
        raise BadFrame(message_of(given))
    if type(given) is not Market:
        raise BadFrame(f"a row is a {type(given).__name__}, not a Market")
    symbol: object = given.symbol
    if type(symbol) is not str or not 0 < len(symbol) <= SYMBOL_LENGTH or not symbol.isprintable() or not symbol.isascii():
        raise BadFrame(f"a market's symbol is not 1 to {SYMBOL_LENGTH} printable characters")
    return given
