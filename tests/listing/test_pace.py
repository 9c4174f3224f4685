"""Polling by the hour of a country: seldom at night, more often around the minutes at which notices come."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pumpwatch.clock import NS_PER_S
from pumpwatch.hookspecs import Pace
from pumpwatch.listing.pace import next_poll_s

KOREA = Pace(utc_offset_min=540, day=(9 * 60, 20 * 60 + 30), night_s=15.0, quick_s=2.0)


def at(hour: int, minute: int, second: float = 0) -> int:
    """Return a moment of the Korean day in ns."""
    midnight = datetime(2026, 8, 20, 15, tzinfo=UTC).timestamp()
    return int((midnight + hour * 3600 + minute * 60 + second) * NS_PER_S)


@pytest.mark.parametrize(("now_ns", "wait_s"), [
    (at(3, 2), 15.0), (at(20, 30), 15.0), (at(23, 59, 59), 15.0),  # night
    (at(8, 59, 55), 5.0),  # until the day begins
    (at(9, 0), 2.0), (at(14, 5), 2.0), (at(14, 5, 14), 2.0), (at(14, 4, 58.5), 2.0),  # around a minute that 5 divides
    (at(14, 6), 3.0), (at(14, 5, 16), 3.0), (at(20, 29, 30), 3.0),
])
def test_the_pace_follows_the_local_clock(now_ns: int, wait_s: float) -> None:
    assert next_poll_s(3.0, KOREA, now_ns) == pytest.approx(wait_s)


def test_a_long_wait_ends_where_the_quick_time_begins() -> None:
    assert next_poll_s(60.0, KOREA, at(14, 4, 40)) == pytest.approx(18)
    assert next_poll_s(60.0, KOREA, at(14, 4, 57)) == pytest.approx(2)


def test_without_a_pace_every_hour_is_alike() -> None:
    assert {next_poll_s(7.0, None, at(hour, 0)) for hour in range(24)} == {7.0}
