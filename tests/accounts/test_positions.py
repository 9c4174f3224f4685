"""What fills make of a position."""

from __future__ import annotations

from decimal import Decimal

import pytest

from pumpwatch.accounts.positions import against, closed, filled, liquidated_at, marked, opening
from pumpwatch.accounts.records import Position
from pumpwatch.accounts.refusals import WrongState
from tests.accounts.ledgers import FUTURES, SPOT, SYMBOL, fill, order

D = Decimal
EMPTY = Position(venue=FUTURES, symbol=SYMBOL)


def after(position: Position, side: str, quantity: str, price: str, leverage: str = "10") -> tuple[Position, Decimal]:
    placed = order("o", side, quantity, price, venue=position.venue, leverage=D(leverage))
    return filled(position, placed, fill("f", price, quantity))


def test_the_entry_is_the_average_of_what_is_held() -> None:
    position, realised = after(after(EMPTY, "buy", "10", "1")[0], "buy", "30", "2", "5")
    assert (position.quantity, position.cost, position.entry_price, realised) == (40, 70, D("1.75"), 0)
    assert position.margin == D(1) + D(12) and position.leverage == 5
    reduced, realised = after(position, "sell", "10", "3")
    assert (reduced.quantity, reduced.cost, reduced.margin, realised) == (30, D("52.5"), D("9.75"), D("12.5"))
    assert reduced.realised_pnl == D("12.5") and reduced.unrealised_pnl == D("37.5")


def test_thirds_leave_nothing_behind() -> None:
    position, sum_realised = after(EMPTY, "sell", "3", "0.1", "7")[0], D(0)
    for _ in range(3):
        position, realised = after(position, "buy", "1", "0.07")
        sum_realised += realised
    assert (position.side, position.cost, position.margin, position.entry_price) == ("flat", 0, 0, 0)
    assert sum_realised == position.realised_pnl == D("0.09")


def test_what_an_order_opens() -> None:
    long = after(EMPTY, "buy", "10", "1")[0]
    assert [opening(position, side, D(15)) for position, side in ((None, "buy"), (long, "buy"), (long, "sell"))] == [15, 15, 5]
    assert opening(long, "sell", D(4)) == 0 and against(long, "sell") and not against(EMPTY, "sell")


def test_a_spot_position_never_becomes_short() -> None:
    spot = Position(venue=SPOT, symbol=SYMBOL)
    held = after(spot, "buy", "10", "1", "1")[0]
    sold, realised = after(held, "sell", "25", "2", "1")  # fifteen came by a transfer
    assert (sold.side, sold.quantity, sold.margin, realised) == ("flat", 0, 0, 10)
    assert liquidated_at(held, D(5)).liquidation_price is None


def test_margin_types_do_not_mix() -> None:
    held = after(EMPTY, "buy", "10", "1")[0]
    with pytest.raises(WrongState, match="the position's margin is isolated, not cross"):
        filled(held, order(venue=FUTURES, margin_type="cross"), fill())


@pytest.mark.parametrize(("side", "wanted"), [("buy", "0.904522613065326633"), ("sell", "1.094527363184079602")])
def test_at_the_liquidation_price_the_maintenance_margin_is_left(side: str, wanted: str) -> None:
    found = liquidated_at(after(EMPTY, side, "1000", "1")[0], D(0))
    assert found.liquidation_price == D(wanted)
    value, worth = found.quantity * D(wanted), marked(found, D(wanted), 1)
    assert abs(found.margin + worth.unrealised_pnl - value * D("0.005")) < D("1e-14")


def test_a_closed_position_keeps_its_sums() -> None:
    done, realised = closed(after(EMPTY, "sell", "10", "2")[0], D(3), D("0.5"), 9)
    assert (done.side, done.realised_pnl, done.fees, done.mark_price, realised) == ("flat", -10, D("0.5"), 3, -10)
    assert done.version == 2 and (done.unrealised_pnl, done.liquidation_price, done.changed_at_ns) == (0, None, 9)
