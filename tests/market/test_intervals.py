"""Each interval is a multiple of the one before it, and others are refused."""

from __future__ import annotations

from itertools import pairwise

import pytest

from pumpwatch.errors import UsageError
from pumpwatch.market.intervals import INTERVALS_NS, interval_ns


def test_each_interval_is_a_multiple_of_the_one_before_it() -> None:
    assert all(longer % shorter == 0 for shorter, longer in pairwise(INTERVALS_NS.values()))
    assert [interval_ns(name) for name in INTERVALS_NS] == list(INTERVALS_NS.values())


@pytest.mark.parametrize("name", ["", "2m", "1M", "x" * 1000])
def test_another_interval_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="is not an interval"):
        interval_ns(name)
