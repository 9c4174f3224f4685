"""The order of venues by their first abnormal trades, and how sure it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pumpwatch.clock import NS_PER_MS, NS_PER_S
from pumpwatch.listing.move_order import order_of, resolution_ns


def row(exchange: str, at_ns: int, resolution: int, symbol: str = "KITEUSDT") -> dict[str, Any]:
    first = {"at_ns": at_ns, "resolution_ns": resolution, "after_announcement_ms": at_ns / NS_PER_MS}
    return {"exchange": exchange, "market_type": "spot", "symbol": symbol, "first_abnormal": first}


@pytest.mark.parametrize(("times", "unit"), [
    ([5 * NS_PER_S, 7 * NS_PER_S, 9 * NS_PER_S], NS_PER_S), ([5 * NS_PER_S, 7 * NS_PER_S], NS_PER_MS),
    ([5 * NS_PER_S, 5 * NS_PER_S, 5 * NS_PER_S], NS_PER_MS), ([5 * NS_PER_S, NS_PER_MS], NS_PER_MS), ([7000], 1000),
    ([NS_PER_S, NS_PER_MS, 17], 1), ([], 1)])
def test_a_resolution_is_the_unit_of_which_all_times_are_multiples(times: list[int], unit: int) -> None:
    assert resolution_ns(np.array(times, np.int64)) == unit


def test_the_bounds_of_a_difference_follow_from_both_resolutions() -> None:
    order = order_of([row("coarse", 10 * NS_PER_MS, NS_PER_MS), row("fine", 11 * NS_PER_MS, 1),
                      row("near", 10 * NS_PER_MS + 999_999, 1)])
    assert [(found["exchange"], found["tied_with_first"]) for found in order] == [
        ("coarse", False), ("near", True), ("fine", False)]
    fine = order[2]
    assert (fine["behind_least_ms"], fine["behind_first_ms"], fine["behind_most_ms"]) == (0, 1, 1.000001)


def test_equal_stamps_are_tied() -> None:
    first, second = order_of([row("beta", 5, 1), row("alpha", 5, 1)])
    assert (first["exchange"], first["tied_with_first"]) == ("alpha", False)
    assert (second["exchange"], second["tied_with_first"], second["behind_first_ms"]) == ("beta", True, 0)


def test_a_venue_with_two_instruments_stands_once_with_the_earlier_one() -> None:
    order = order_of([row("alpha", 9, 1, "1000KITEUSDT"), row("alpha", 7, 1), row("beta", 8, 1)])
    assert [(found["exchange"], found["symbol"]) for found in order] == [("alpha", "KITEUSDT"), ("beta", "KITEUSDT")]
    assert order_of([]) == []
