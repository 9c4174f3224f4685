"""A list of markets is checked whole before anything acts on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pumpwatch.errors import BadFrame
from pumpwatch.hookspecs import Market, MarketSource
from pumpwatch.listing.market_rows import MARKETS, checked_markets


def source(parse: Callable[[bytes], Any]) -> MarketSource:
    return MarketSource(name="m", url="https://example.com", headers={}, interval_s=1, parse=parse)


def market(coin: Any, quote: str = "KRW", symbol: Any = None) -> Market:
    return Market(symbol=f"{quote}-{coin}" if symbol is None else symbol, coin=coin, quote=quote)


def test_a_row_that_is_invalid_costs_no_other() -> None:
    rows: list[Any] = [market("BTC"), None, market(".."), market("A" * 300), market("X", symbol="\n"),
                       market("Y", symbol="Z" * 65), market(7), BadFrame("a bad row"), market("ETH", "BTC"), market("stETH")]
    found = checked_markets(source(lambda body: rows), b"", 0)
    assert found.coins == {"KRW-BTC": "BTC", "KRW-stETH": "STETH"}
    assert len(found.rejected) == 7 and "a bad row" in {row.reason for row in found.rejected}


def forever(body: bytes) -> Any:
    number = 0
    while True:
        number += 1
        yield market(f"C{number}")


@pytest.mark.parametrize("parse", [
    lambda body: [], lambda body: None, lambda body: [market("ETH", "BTC")], lambda body: 1 / 0, lambda body: [None], forever])
def test_what_is_no_list_or_has_no_market_in_the_quote_is_refused(parse: Callable[[bytes], Any]) -> None:
    with pytest.raises(BadFrame):
        checked_markets(source(parse), b"", 0)


def test_a_list_may_be_long() -> None:
    found = checked_markets(source(lambda body: [market(f"C{number}") for number in range(MARKETS)]), b"", 0)
    assert len(found.coins) == MARKETS
