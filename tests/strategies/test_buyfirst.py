"""buy_first buys at once where most is traded, or at the first trade."""

from __future__ import annotations

import pytest
from pumpwatch_plugins.strategies.buyfirst import BuyFirst

from pumpwatch.paper.engine import play
from pumpwatch.paper.settings import Settings
from tests.paper.tapes import BUYS, FUTURES, SPOT, Row, tape

EARLY: list[Row] = [(-200, 1.0, 10, BUYS), (400, 1.0, 10**6, BUYS)]
LATE: list[Row] = [(200, 1.0, 10, BUYS), (400, 1.0, 10**6, BUYS)]
NONE: list[Row] = []


@pytest.mark.parametrize(("spot", "futures", "leverage", "venue", "at"), [
    (EARLY, EARLY, 1, SPOT.venue, 400), (EARLY, EARLY, 3, FUTURES.venue, 400), (LATE, NONE, 1, SPOT.venue, 400)])
def test_it_buys_once(spot: list[Row], futures: list[Row], leverage: int, venue: str, at: float) -> None:
    found = play(tape(spot, futures), BuyFirst(), Settings(leverage=leverage), 0).outcome
    assert [(fill.venue, fill.side, float(fill.price * fill.quantity)) for fill in found.fills] == [(venue, "buy", 1000)]
    assert found.entry_at == tape([(at, 1.0, 1, BUYS)]).timestamp[0]


def test_where_there_are_futures_alone_it_buys_those() -> None:
    found = play(tape(EARLY, markets=(FUTURES,)), BuyFirst(), Settings(), 0).outcome
    assert [fill.venue for fill in found.fills] == [FUTURES.venue]
