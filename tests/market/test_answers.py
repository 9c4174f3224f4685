"""Answers become rows with stable keys, and frames of pandas."""

from __future__ import annotations

import numpy as np

from pumpwatch.market.answers import CandleAnswer, SymbolTrades
from pumpwatch.market.intervals import MINUTE_NS
from tests.market.market_parts import C0, minute

AT = 5 * MINUTE_NS


def test_a_candle_is_a_row_with_stable_keys_and_none_for_what_is_not_known() -> None:
    rows = minute(AT, 10.0, trades=-1)
    rows.quote_volume[:] = np.nan
    found, = CandleAnswer("1m", [C0], rows).records()
    assert list(found) == ["exchange", "market_type", "symbol", "interval", "timestamp", "open", "high", "low", "close", "volume",
                           "quote_volume", "taker_buy_volume", "trades", "complete", "origin"]
    assert (found["timestamp"], found["quote_volume"], found["trades"], found["origin"]) == (AT, None, None, "trades")


def test_a_frame_has_the_same_columns_and_real_times() -> None:
    frame = CandleAnswer("1m", [("a", "spot", "X"), C0], minute(AT, 10.0)).to_pandas()
    assert list(frame.columns) == list(CandleAnswer("1m", [C0], minute(AT, 10.0)).records()[0])
    assert str(frame["timestamp"][0]) == "1970-01-01 00:05:00+00:00" and frame["symbol"][0] == "X"
    trades = SymbolTrades(np.array([AT]), np.array([1.0]), np.array([2.0]), np.array([True]), ["7"]).to_pandas()
    assert trades["trade_id"][0] == "7" and len(trades.columns) == 5
