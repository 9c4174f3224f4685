"""The settings of a run."""

from __future__ import annotations

from decimal import Decimal

from pumpwatch.paper.settings import Settings


def test_an_account_starts_with_three_times_the_size() -> None:
    assert Settings(size=Decimal("12.5")).cash == Decimal("37.5")
