"""Candles of trades equal those that pandas computes, whatever the order, and however often a trade is there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from pumpwatch.market.candle_builder import candles_of, joined
from pumpwatch.market.intervals import MINUTE_NS
from pumpwatch.model import Flag, TradeBatch
from tests.trades import batch_of

START_NS = 28_000_000 * MINUTE_NS


def by_pandas(batch: TradeBatch) -> pd.DataFrame:
    frame = pd.DataFrame({"ns": batch.timestamp, "instrument": batch.instrument, "price": batch.price, "base": batch.quantity,
                          "side": batch.side, "id": batch.id_texts(), "number": batch.trade_id, "sequence": batch.sequence_number,
                          "flags": batch.flags})
    frame = frame.drop_duplicates(["instrument", "id", "ns"])
    frame = frame[(frame["flags"] & int(Flag.outside_market())) == 0].sort_values(["ns", "sequence", "number"], kind="stable")
    frame["quote"], frame["bought"] = frame.price * frame.base, frame.base.where(frame.side == 0, 0.0)
    frame["minute"] = frame.ns // MINUTE_NS
    groups = frame.groupby(["instrument", "minute"])
    found = groups.price.agg(["first", "max", "min", "last"])
    return found.assign(volume=groups.base.sum(), quote=groups.quote.sum(), bought=groups.bought.sum(), trades=groups.size())


def assert_same(found, batch: TradeBatch) -> None:
    wanted = by_pandas(batch)
    assert list(zip(found.series.tolist(), (found.timestamp // MINUTE_NS).tolist(), strict=True)) == list(wanted.index)
    for ours, theirs in zip((found.open, found.high, found.low, found.close), ("first", "max", "min", "last"), strict=True):
        assert ours.tolist() == wanted[theirs].tolist()
    for ours, theirs in ((found.volume, "volume"), (found.quote_volume, "quote"), (found.taker_buy_volume, "bought")):
        np.testing.assert_allclose(ours, wanted[theirs].to_numpy(), rtol=1e-12)
    assert found.trades.tolist() == wanted.trades.tolist()


@given(st.integers(0, 2**32 - 1), st.integers(1, 300), st.sampled_from([1, 10**9, 3 * 10**9]), st.booleans())
def test_candles_equal_those_of_pandas_for_late_doubled_and_shuffled_trades(seed: int, rows: int, step_ns: int, text: bool) -> None:
    draw = np.random.default_rng(seed)
    batch = batch_of(rows, start_ns=START_NS, step_ns=step_ns, seed=seed, instruments=3)
    flags = draw.choice([0, 0, 0, int(Flag.INSURANCE_FUND), int(Flag.BLOCK)], rows).astype(np.uint8)
    batch = replace(batch, flags=flags, timestamp=batch.timestamp // 1000 * 1000,  # some times are equal
                    sequence_number=draw.integers(0, 3, rows))
    if text:
        batch = replace(batch, text_id=np.array([b"t%d" % number for number in batch.trade_id]), trade_id=np.zeros(rows, np.int64))
    mixed = batch.take(draw.integers(0, rows, 2 * rows))
    if text:  # of ties the first one stored opens the minute
        mixed = mixed.take(np.sort(np.unique(mixed.text_id, return_index=True)[1]))
        mixed = TradeBatch.concat([mixed, mixed.take(slice(0, rows // 2))])
    assert_same(candles_of(mixed), mixed)


@given(st.integers(0, 2**32 - 1), st.integers(1, 200), st.integers(1, 170))
def test_candles_summed_in_parts_of_time_are_those_of_all_trades(seed: int, rows: int, cut_s: int) -> None:
    batch = batch_of(rows, start_ns=START_NS, step_ns=10**9, seed=seed, instruments=3)
    early = batch.timestamp < START_NS + cut_s * 10**9
    assert_same(joined([candles_of(batch.take(early)), candles_of(batch.take(~early))]), batch)


def test_a_row_that_joins_several_trades_makes_their_number_unknown() -> None:
    batch = batch_of(4, start_ns=START_NS, step_ns=MINUTE_NS // 2, instruments=1)
    flags = np.array([0, Flag.AGGREGATED, 0, 0], np.uint8)
    found = candles_of(replace(batch, flags=flags))
    assert found.trades.tolist() == [-1, 2]
    parts = [candles_of(replace(batch, flags=flags).take(slice(place, place + 1))) for place in range(4)]
    assert joined(parts).trades.tolist() == [-1, 2]


def test_of_no_trades_there_is_no_candle() -> None:
    assert len(candles_of(TradeBatch.empty())) == 0
    assert len(joined([])) == 0
    batch = batch_of(2, start_ns=START_NS, instruments=1)
    assert len(candles_of(replace(batch, flags=np.full(2, Flag.ADL, np.uint8)))) == 0
