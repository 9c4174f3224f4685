"""Options that several commands have."""

from __future__ import annotations

import pytest

from pumpwatch.commands.options import parse_moment, refuse_unknown, with_config
from pumpwatch.config import Config
from pumpwatch.errors import UsageError

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


def test_an_exchange_or_market_that_is_not_known_is_answered_with_the_known_ones() -> None:
    known = [("okx", "spot"), ("gate", "futures")]
    refuse_unknown(known, "okx", "spot")
    refuse_unknown(known, None, "futures")
    with pytest.raises(UsageError, match="no exchange `kraken`") as caught:
        refuse_unknown(known, "kraken")
    assert caught.value.hint == "known: gate, okx"
    with pytest.raises(UsageError, match="no exchange `okx` with a market `futures`") as caught:
        refuse_unknown(known, "okx", "futures")
    assert caught.value.hint == "known: gate, okx spot"


def test_without_a_config_file_no_option_is_repeated() -> None:
    assert with_config(Config()) == ""
