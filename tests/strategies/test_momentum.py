"""momentum buys the first rise of 2 %, and nothing without one."""

from __future__ import annotations

from pumpwatch_plugins.strategies.momentum import Momentum

from pumpwatch.paper.engine import play
from pumpwatch.paper.settings import Settings
from tests.paper.tapes import BUYS, FUTURES, Row, tape

FLAT: list[Row] = [(-200, 1.0, 10, BUYS), (400, 1.01, 10**6, BUYS)]
RISES: list[Row] = [(-200, 1.0, 10, BUYS), (100, 1.01, 10, BUYS), (300, 1.03, 10, BUYS), (600, 1.04, 10**6, BUYS)]


def test_it_buys_where_the_price_rises() -> None:
    found = play(tape(FLAT, RISES), Momentum(), Settings(), 0).outcome
    assert [(fill.venue, fill.side, float(fill.price)) for fill in found.fills] == [(FUTURES.venue, "buy", 1.04)]


def test_it_leaves_a_calm_market_alone() -> None:
    assert play(tape(FLAT, FLAT), Momentum(), Settings(), 0).outcome.exit_reason == "none"
