"""A block gives back every candle bit for bit, takes few bytes, and tells of each flipped bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pumpwatch.errors import StorageError
from pumpwatch.market.candle_blocks import BLOCK_NS, pack, unit_of, unpack
from pumpwatch.market.intervals import INTERVALS_NS, MINUTE_NS
from tests.market.store_contract import START, candles, same

VALUES = st.lists(st.one_of(st.floats(), st.decimals(0, 10**9, places=4).map(float)), min_size=1, max_size=40)


def test_a_block_of_each_interval_holds_whole_intervals() -> None:
    for interval, block_ns in BLOCK_NS.items():
        assert block_ns % INTERVALS_NS[interval] == 0
        assert 128 <= block_ns // INTERVALS_NS[interval] <= 480


@settings(max_examples=150, deadline=None)
@given(VALUES, VALUES)
def test_any_floats_come_back(prices: list[float], volumes: list[float]) -> None:
    count = min(len(prices), len(volumes))
    rows = candles(list(range(0, 2 * count, 2)))
    rows.open[:], rows.volume[:] = prices[:count], volumes[:count]
    assert same(unpack(pack(rows, "1m"), "1m", START), rows)


def test_sums_of_decimals_take_few_bytes() -> None:
    draw = np.random.default_rng(1)
    rows = candles(list(range(480)))
    rows.volume[:] = np.round(draw.exponential(100, 480), 3) + 0.1 + 0.2
    assert unit_of(rows.volume) == 3
    assert len(pack(rows, "1m")) / 480 < 8
    rows.volume[:] = draw.random(480)
    assert unit_of(rows.volume) == 255


def test_a_flipped_bit_is_an_error() -> None:
    blob = pack(candles(list(range(480))), "1m")
    for place in (0, 4, 7, len(blob) // 2, len(blob) - 1):
        broken = bytearray(blob)
        broken[place] ^= 4
        with pytest.raises(StorageError, match="damaged"):
            unpack(bytes(broken), "1m", START)
    with pytest.raises(StorageError):
        unpack(blob[:3], "1m", START)
    assert len(unpack(blob, "1m", START)) == 480
    assert int(unpack(blob, "1m", START).timestamp[-1]) == START + 479 * MINUTE_NS
