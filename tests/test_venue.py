"""What a plugin states about a venue."""

from __future__ import annotations

import math

from pumpwatch.venue import HistoryDepth
from tests.plugin_kit.good_venue import SPOT


def test_a_venue_is_named_by_exchange_and_market() -> None:
    venue = SPOT
    assert venue.name == f"{venue.exchange}.{venue.market_type}"


def test_a_history_answers_by_time_with_its_newest_rows_unless_it_says_otherwise() -> None:
    depth = HistoryDepth(rows_per_request=100, pages=True, reach_s=math.inf)
    assert not depth.by_id
    assert not depth.oldest_first
    assert not depth.skips_ids
