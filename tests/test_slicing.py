"""The symbols of a venue are divided in the same way on every host."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pumpwatch.slicing import slice_of


def test_a_symbol_keeps_its_slice_in_every_process_and_version() -> None:
    assert [slice_of(symbol, 4) for symbol in ("BTCUSDT", "ETHUSDT", "SOL-USDT", "币USDT")] == [2, 2, 1, 1]


@given(st.text(), st.integers(1, 64))
def test_every_symbol_has_a_slice(symbol: str, count: int) -> None:
    assert 0 <= slice_of(symbol, count) < count


def test_the_slices_of_many_symbols_are_about_equally_large() -> None:
    sizes = Counter(slice_of(f"COIN{number}USDT", 4) for number in range(2_000))
    assert max(sizes.values()) < 1.2 * min(sizes.values())


def test_a_venue_has_at_least_one_slice() -> None:
    with pytest.raises(ValueError, match="must be positive"):
        slice_of("BTCUSDT", 0)
