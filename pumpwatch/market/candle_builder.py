"""Make one-minute candles from trades, by columns.

The order within a minute is by timestamp, sequence number and id; trades whose ids are text and tie keep the order in which they
were stored. Of trades with equal instrument, id and timestamp the first counts. Rows that no order matched are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pumpwatch.market.aggregate import aggregate
from pumpwatch.market.candle_columns import CandleColumns, CandleOrigin
from pumpwatch.market.intervals import MINUTE, MINUTE_NS
from pumpwatch.model import BUY, Flag, Int64, TradeBatch

MINUTE_BITS = 28  # of a key: the instrument lies above them


def keys_of(batch: TradeBatch) -> Int64:
    """Return a number for each trade that ascends by instrument and minute. Trades from before 1970 count in the first minute."""
    minute = np.maximum(batch.timestamp, 0) // MINUTE_NS
    found: Int64 = (batch.instrument.astype(np.int64) << MINUTE_BITS) | minute
    return found


def candles_of(batch: TradeBatch) -> CandleColumns:
    """Return the candles of trades in any order, by instrument and minute. `series` is the instrument's id.

    Every candle counts as not complete: trades alone do not show whether one is missing.
    """
    outside = (batch.flags & Flag.outside_market()) != 0
    if outside.any():
        batch = batch.take(~outside)
    if not len(batch):
        return CandleColumns.empty()
    keys = keys_of(batch)
    if (keys[1:] < keys[:-1]).any():
        order = keys.argsort(kind="stable")
        batch, keys = batch.take(order), keys[order]
    misplaced = _misplaced(batch, keys)
    if len(misplaced):
        rows = np.flatnonzero(np.isin(keys, misplaced))
        order = np.arange(len(batch))
        order[rows] = rows[np.lexsort((batch.trade_id[rows], batch.sequence_number[rows], batch.timestamp[rows], keys[rows]))]
        batch = batch.take(order)
    doubles = _doubles(batch, keys)
    if len(doubles):
        kept = np.ones(len(batch), np.bool_)
        kept[doubles] = False
        batch, keys = batch.take(kept), keys[kept]
    return _summed(batch, keys)


def _misplaced(batch: TradeBatch, keys: Int64) -> Int64:
    """Return the keys whose trades are not in order."""
    same = keys[1:] == keys[:-1]
    wrong = same & (batch.timestamp[1:] < batch.timestamp[:-1])
    same &= batch.timestamp[1:] == batch.timestamp[:-1]
    wrong |= same & (batch.sequence_number[1:] < batch.sequence_number[:-1])
    same &= batch.sequence_number[1:] == batch.sequence_number[:-1]
    wrong |= same & (batch.trade_id[1:] < batch.trade_id[:-1])
    return np.unique(keys[1:][wrong])


def _doubles(batch: TradeBatch, keys: Int64) -> NDArray[np.intp]:
    """Return the rows whose instrument, id and timestamp an earlier row has."""
    tied = (keys[1:] == keys[:-1]) & (batch.timestamp[1:] == batch.timestamp[:-1])
    if not tied.any():
        return np.empty(0, np.intp)
    rows = np.flatnonzero(np.concatenate(([False], tied)) | np.concatenate((tied, [False])))
    columns: list[NDArray[Any]] = [batch.trade_id[rows], batch.timestamp[rows], keys[rows]]
    if batch.text_id is not None:
        columns.insert(0, batch.text_id[rows])
    order = np.lexsort(columns)  # it is stable: the first of equal ones stays first
    equal = np.ones(len(rows) - 1, np.bool_)
    for column in columns:
        ordered = column[order]
        equal &= ordered[1:] == ordered[:-1]
    return rows[order[1:][equal]]


def _summed(batch: TradeBatch, keys: Int64) -> CandleColumns:
    starts = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1])))
    ends = np.append(starts[1:], len(keys)) - 1
    bought = np.where(batch.side == BUY, batch.quantity, 0.0)
    trades = ends - starts + 1
    aggregated = (batch.flags & Flag.AGGREGATED) != 0
    if aggregated.any():
        trades = np.where(np.logical_or.reduceat(aggregated, starts), -1, trades)
    count = len(starts)
    return CandleColumns(
        series=batch.instrument[starts], timestamp=(keys[starts] & (1 << MINUTE_BITS) - 1) * MINUTE_NS,
        open=batch.price[starts], high=np.maximum.reduceat(batch.price, starts), low=np.minimum.reduceat(batch.price, starts),
        close=batch.price[ends], volume=np.add.reduceat(batch.quantity, starts),
        quote_volume=np.add.reduceat(batch.price * batch.quantity, starts), taker_buy_volume=np.add.reduceat(bought, starts),
        trades=trades, complete=np.zeros(count, np.bool_), origin=np.full(count, CandleOrigin.TRADES, np.uint8))


def joined(parts: Sequence[CandleColumns]) -> CandleColumns:
    """Return the candles of trades that were summed in parts, each part of a later time than the one before it."""
    rows = CandleColumns.concat([part for part in parts if len(part)])
    if not len(rows):
        return rows
    rows = rows.take(np.lexsort((rows.timestamp, rows.series)))  # stable, so that parts stay in order
    return aggregate(rows, MINUTE, over_ns=0)
