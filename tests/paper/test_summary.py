"""The summary of a run: figures of each delay over all listings, the interval, and who is not in them."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pumpwatch.paper.summary import LEAST, interval, summarise
from tests.paper.made_runs import listing, run_of


def test_the_figures_of_a_delay_are_those_of_all_listings() -> None:
    summary = summarise(run_of(*(listing("SOMI", [percent, -1.0]) for percent in (4.0, -2.0, 1.0, 3.0, 2.0))))
    fast, slow = summary.delays
    assert (fast.delay_ms, fast.entered, fast.lost, fast.lost_share) == (100, 5, 1, 0.2)
    assert (fast.low_quartile_percent, fast.median_percent, fast.high_quartile_percent) == (1.0, 2.0, 3.0)
    assert (fast.worst_percent, fast.best_percent, fast.pnl) == (-2.0, 4.0, Decimal(80))
    assert (slow.delay_ms, slow.lost_share, slow.median_percent) == (300, 1.0, -1.0)


def test_listings_that_are_in_no_figure_are_counted_and_named() -> None:
    summary = summarise(run_of(listing("A", [1.0]), listing("B", [None]), listing("C", [], "data/C_1", "the archive is cut")))
    assert (summary.listings, summary.played) == (3, 2)
    assert [(row.coin, row.archive, row.reason) for row in summary.left_out] == [("C", "data/C_1", "the archive is cut")]
    (row,) = summary.delays
    assert (row.entered, row.without_entry, row.median_percent) == (1, ("B",), 1.0)
    assert any("1 of 3 listings was not played" in note for note in summary.notes)
    assert any("without an entry" in note for note in summary.notes)


def test_a_few_listings_have_no_interval_and_it_is_said() -> None:
    few = summarise(run_of(*(listing(f"C{number}", [1.0 + number]) for number in range(LEAST - 1))))
    assert few.delays[0].interval_percent is None and "too few to conclude from" in few.notes[0]
    enough = summarise(run_of(*(listing(f"C{number}", [1.0 + number]) for number in range(LEAST))))
    assert enough.delays[0].interval_percent is not None and enough.notes == ()


def test_a_run_in_which_nobody_entered_has_no_figures() -> None:
    (row,) = summarise(run_of(listing("A", [None]))).delays
    assert (row.entered, row.lost_share, row.median_percent, row.interval_percent, row.pnl) == (0, None, None, None, 0)
    assert summarise(run_of()).delays == ()


def test_the_interval_follows_from_the_seed() -> None:
    percent = np.array([-9.0, -5.5, -4.0, -1.0, 0.5, 2.0, 7.5, 8.0, 30.0, 31.0])
    assert len({interval(percent, seed) for seed in (1, 1, 1)}) == 1 < len({interval(percent, seed) for seed in range(20)})
    assert interval(np.arange(1.0, 11.0) ** 2, 7) == (9.0, 65.0)  # the same on every machine and version of numpy


def test_the_interval_holds_the_true_median_about_as_often_as_it_says() -> None:
    draw = np.random.RandomState(3)
    held = sum(low <= 1.0 <= high for low, high in filter(None, (interval(draw.normal(1.0, 5.0, 30), 1) for _ in range(20))))
    assert held >= 16


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-100, 1000), min_size=LEAST, max_size=30))
def test_the_interval_is_around_the_median_and_within_the_values(values: list[float]) -> None:
    found = interval(np.array(values), 5)
    assert found is not None
    low, high = found
    assert min(values) - 1e-3 <= low <= high <= max(values) + 1e-3
    assert low - 1e-3 <= float(np.median(values)) <= high + 1e-3


@pytest.mark.parametrize("seed", [0, 2**40])
def test_any_seed_of_a_run_is_good(seed: int) -> None:
    assert interval(np.arange(12.0), seed) is not None
