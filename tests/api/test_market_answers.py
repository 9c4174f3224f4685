"""The described shapes have the fields of the values that are answered."""

from __future__ import annotations

from dataclasses import fields

import msgspec

from pumpwatch.api import market_answers as shapes
from pumpwatch.market.answers import FIGURES, SymbolStats
from pumpwatch.order_book import OrderBook
from pumpwatch.ticker import Ticker


def names(shape: type[msgspec.Struct]) -> set[str]:
    return {field.name for field in msgspec.structs.fields(shape)}


def test_the_shapes_follow_the_values() -> None:
    for value, shape, more in ((Ticker, shapes.TickerFigures, {"change"}), (OrderBook, shapes.BookFigures, set()),
                               (SymbolStats, shapes.StatsFigures, {"change"})):
        assert names(shape) == {field.name for field in fields(value)} | more  # type: ignore[arg-type]
    assert names(shapes.CandleRow) == {*FIGURES, "exchange", "market_type", "symbol", "interval", "origin"}
