"""The section `market` is checked as the others are."""

from __future__ import annotations

import msgspec
import pytest

from pumpwatch.config_market import MarketConfig


@pytest.mark.parametrize("wrong", [{"minute_days": -1}, {"history_days": -0.5}, {"quarter_days": "many"}, {"retention": 1}])
def test_what_cannot_be_is_refused(wrong: dict) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(wrong, MarketConfig)


def test_minutes_are_kept_shorter_than_hours_which_stay_by_default() -> None:
    found = msgspec.convert({}, MarketConfig)
    assert found.minute_days < found.quarter_days
    assert found.hour_days == 0
