"""Points in time as people write them."""

from __future__ import annotations

import pytest

from pumpwatch.moments import parse_moment

NOW = 1_795_000_000_123_456_789


@pytest.mark.parametrize(("text", "ns"), [
    ("now", NOW),
    ("-20m", NOW - 1_200 * 10**9),
    ("-1.5s", NOW - 1_500_000_000),
    ("1795000000", 1_795_000_000 * 10**9),
    ("1795000000.25", 1_795_000_000_250_000_000),
    ("1795000000123", 1_795_000_000_123_000_000),
    ("1795000000123456", 1_795_000_000_123_456_000),
    ("1795000000123456789", 1_795_000_000_123_456_789),
    ("2026-11-18T11:06:40Z", 1_795_000_000 * 10**9),
    ("2026-11-18 11:06:40", 1_795_000_000 * 10**9),
    ("2026-11-18T20:06:40.123456789+09:00", 1_795_000_000_123_456_789),
    ("2026-11-18", 1_794_960_000 * 10**9),
])
def test_a_moment_may_be_written_in_many_ways_and_keeps_its_nanoseconds(text: str, ns: int) -> None:
    assert parse_moment(text, NOW) == ns


@pytest.mark.parametrize("text", ["", "soon", "12", "20m", "-20y", "2026-13-01", "2026-11-18T25:00:00Z"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_moment(text, NOW)
