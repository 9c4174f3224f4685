"""The table of fees has a date and a source for each row."""

from __future__ import annotations

from decimal import Decimal

import pytest

from pumpwatch.config import Config
from pumpwatch.paper import fees
from pumpwatch.paper.fees import fees_of
from pumpwatch.plugins import load_plugins


def test_a_venue_has_its_fees_and_another_one_those_of_the_last_rows() -> None:
    assert (fees_of("binance", "spot").taker, fees_of("binance", "futures").maker) == (Decimal("0.001"), Decimal("0.0002"))
    assert fees_of("elsewhere", "futures").taker == Decimal("0.001")


def test_every_row_says_when_and_from_where_and_every_venue_that_ships_has_one() -> None:
    table = fees._table()
    assert {row.source for row in table.values()} == {"memory", "assumed"}
    assert all(len(row.date) == 10 and 0 <= row.maker <= row.taker < Decimal("0.01") for row in table.values())
    assert {(venue.exchange, venue.market_type) for venue in load_plugins(Config()).venues} <= table.keys()


@pytest.mark.parametrize(("market_type", "most"), [("spot", 1), ("futures", 20)])
def test_spot_has_no_leverage(market_type: str, most: int) -> None:
    assert fees_of("elsewhere", market_type).most_leverage == most
