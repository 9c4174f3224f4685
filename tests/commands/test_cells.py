"""Cells that several tables have."""

from __future__ import annotations

import pytest

from pumpwatch.commands.cells import count, lasted, one_day, size, time_cell, venue_cell
from pumpwatch.commands.table import Cell

AT_NS = 1_764_252_202_123_456_789  # 2025-11-27T14:03:22Z


def test_a_venue_is_short_by_the_letter_of_its_market() -> None:
    assert venue_cell("binance", "futures") == Cell("binance.futures", "binance.f")


def test_a_moment_is_a_clock_time_where_there_is_little_room() -> None:
    assert time_cell(AT_NS, with_day=False, digits=6, short_digits=3) == Cell(
        "2025-11-27 14:03:22.123456", "14:03:22.123", "14:03:22")
    assert time_cell(AT_NS, with_day=True, digits=0).short == "11-27 14:03:22"


def test_moments_of_one_day_have_a_day() -> None:
    assert one_day([AT_NS, AT_NS + 10**9]) == "2025-11-27"
    assert one_day([AT_NS, AT_NS + 86_400 * 10**9]) == one_day([]) == ""


@pytest.mark.parametrize(("ns", "text"), [
    (0, "0 ms"), (5, "< 1 ms"), (12_000_000, "12 ms"), (3_240_000_000, "3.2 s"), (9_970_000_000, "10 s"),
    (47_000_000_000, "47 s"), (120_000_000_000, "2 min"), (3_900_000_000_000, "1 h 5 min"),
    (7_200_000_000_000, "2 h"), (266_400_000_000_000, "3 d 2 h")])
def test_a_span_of_time_is_in_its_own_unit(ns: int, text: str) -> None:
    assert lasted(ns) == text


def test_bytes_and_counts_are_in_words() -> None:
    assert [size(number) for number in (7, 1500, 2_000_000, 1.5e9)] == ["7 B", "1.5 KB", "2.0 MB", "1.5 GB"]
    assert [count(number, "gap") for number in (0, 1, 2000)] == ["0 gaps", "1 gap", "2,000 gaps"]
