"""fade sells a futures market short once it has come back from its peak."""

from __future__ import annotations

from pumpwatch_plugins.strategies.fade import Fade

from pumpwatch.paper.engine import play
from pumpwatch.paper.settings import Settings
from tests.paper.tapes import BUYS, FUTURES, SELLS, Row, tape

PEAK: list[Row] = [(-200, 1.0, 10, BUYS), (100, 1.1, 10, BUYS), (300, 1.09, 10, BUYS), (500, 1.05, 10, SELLS),
                   (900, 1.0, 10**6, SELLS), (5000, 0.9, 10, SELLS)]


def test_it_sells_behind_the_peak_on_futures_alone() -> None:
    found = play(tape(PEAK, PEAK), Fade(), Settings(), 0).outcome
    assert [(fill.venue, fill.side, float(fill.price)) for fill in found.fills] == [(FUTURES.venue, "sell", 1.0)]
    assert found.pnl > 90


def test_without_a_peak_it_does_nothing() -> None:
    assert play(tape([], PEAK[3:]), Fade(), Settings(), 0).outcome.exit_reason == "none"
