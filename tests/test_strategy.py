"""A strategy that overrides nothing does nothing."""

from __future__ import annotations

from pumpwatch import Strategy
from pumpwatch.paper.engine import play
from pumpwatch.paper.settings import Settings
from tests.paper.tapes import BUYS, tape


def test_calls_that_are_not_overridden_do_nothing() -> None:
    strategy = Strategy()
    strategy.tick_s = 5.0
    found = play(tape([(1, 1.0, 1, BUYS), (500, 1.0, 1, BUYS)]), strategy, Settings(), 0)
    assert (found.outcome.fills, found.actions) == ((), ())
