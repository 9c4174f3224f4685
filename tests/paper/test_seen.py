"""What a strategy knows of a market at one of its times."""

from __future__ import annotations

import numpy as np

from pumpwatch.paper.seen import SeenMarket


def test_price_and_volume_are_those_of_the_trades_that_were_seen() -> None:
    market = SeenMarket(np.array([10, 20], np.int64), np.array([1.0, 2.0]), np.array([5.0, 3.0]))
    assert [(market.last(at), market.volume(at)) for at in (9, 10, 20)] == [(None, 0.0), (1.0, 5.0), (2.0, 11.0)]
