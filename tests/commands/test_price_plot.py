"""Prices drawn in a terminal."""

from __future__ import annotations

import numpy as np
import pytest

from pumpwatch.commands.price_plot import BLANK, LINES, price_plot
from tests.commands.rendered import check_lines


def dots(lines: list[str]) -> int:
    return sum((ord(letter) - BLANK).bit_count() for line in lines for letter in line if BLANK < ord(letter) < BLANK + 256)


@pytest.mark.parametrize("width", [40, 80, 120])
def test_a_plot_fits_and_has_its_axes(width: int) -> None:
    seconds = np.linspace(-20, 23, 500)
    lines = price_plot(seconds, np.where(seconds < 0.4, 0.1, 0.125), width)
    check_lines(lines, width)
    assert len(lines) == LINES + 1
    assert [line.split("┤")[0].strip() for line in (lines[0], lines[LINES // 2], lines[LINES - 1])] == ["0.125", "0.1125", "0.1"]
    assert lines[-1].split() == ["-20.0", "s", "published", "+23.0", "s"]
    assert "│" in lines[LINES // 2]


def test_the_highest_price_is_at_the_top_and_the_earliest_trade_at_the_left() -> None:
    lines = price_plot(np.array([0.0, 1.0]), np.array([1.0, 2.0]), 60)
    assert lines[0].endswith("⠈") and lines[LINES - 1].split("┤")[1][0] == "⡀"
    assert dots(lines) == 2


def test_a_single_price_and_no_price_are_drawn_too() -> None:
    assert dots(price_plot(np.array([-3.0]), np.array([5.0]), 60)) == 1
    assert price_plot(np.empty(0), np.empty(0), 60) == ["no trade in the window"]


def test_a_plot_without_a_publication_has_the_words_of_its_ends() -> None:
    lines = price_plot(np.array([-120.0, -60.0, 0.0]), np.array([1.0, 2.0, 1.5]), 60, ends=("09:41:00", "09:43:00"))
    check_lines(lines, 60)
    assert lines[-1].split() == ["09:41:00", "09:43:00"] and "│" not in "".join(lines)
    assert price_plot(np.array([0.0]), np.array([1.0]), 60, ends=("09:41:00", "09:41:00"))[-1].split() == ["09:41:00"]
