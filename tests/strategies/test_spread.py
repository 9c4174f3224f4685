"""spread buys where the coin is cheap, sells it where it is dear, and ends once the prices meet."""

from __future__ import annotations

from pumpwatch_plugins.strategies.spread import Spread

from pumpwatch.paper.engine import play
from pumpwatch.paper.settings import Settings
from tests.paper.tapes import BUYS, FUTURES, SELLS, SPOT, Row, tape

CHEAP: list[Row] = [(-200, 1.0, 10, BUYS), (400, 1.0, 10**6, BUYS), (3000, 1.05, 10, BUYS), (3300, 1.05, 10**6, SELLS)]
DEAR: list[Row] = [(-200, 1.05, 10, BUYS), (100, 1.05, 10, BUYS), (401, 1.05, 10**6, SELLS), (3300, 1.05, 10**6, BUYS)]


def test_it_opens_a_pair_and_closes_it() -> None:
    found = play(tape(CHEAP, DEAR), Spread(), Settings(), 0).outcome
    assert [(fill.venue, fill.side, float(fill.price)) for fill in found.fills] == [
        (SPOT.venue, "buy", 1.0), (FUTURES.venue, "sell", 1.05), (FUTURES.venue, "buy", 1.05), (SPOT.venue, "sell", 1.05)]
    assert found.pnl > 40


def test_it_sells_nothing_short_on_spot_and_ignores_another_unit() -> None:
    thousands: list[Row] = [(at, price * 1000, quantity, side) for at, price, quantity, side in DEAR]
    for rows in ((DEAR, CHEAP), (CHEAP, thousands)):
        assert play(tape(*rows), Spread(), Settings(), 0).outcome.fills == ()
