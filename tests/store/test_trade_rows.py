"""A stored trade has the same fields wherever it is shown."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pumpwatch.store.trade_rows import TRADE_FIELDS, trade_columns, trade_records
from tests.trades import batch_of, catalogue_of

BATCH = replace(batch_of(3, first_id=7, start_ns=10, step_ns=1), sequence_number=np.array([-1, 5, 6]))


def test_a_row_has_every_field_in_order_and_names_instead_of_numbers() -> None:
    batch = replace(BATCH, instrument=np.array([0, 1, 0], np.int32), side=np.array([0, 1, 0], np.uint8))
    first, second, _ = trade_records(batch, catalogue_of())
    assert tuple(first) == TRADE_FIELDS
    assert (first["exchange"], first["market_type"], first["symbol"]) == ("binance", "spot", "C0USDT")
    assert (second["market_type"], second["side"], second["trade_id"], second["timestamp"]) == ("futures", "sell", "8", 11)


def test_columns_hold_the_same_as_rows_and_none_for_no_sequence_number() -> None:
    columns = trade_columns(BATCH, catalogue_of())
    assert [row["price"] for row in trade_records(BATCH, catalogue_of())] == columns["price"]
    assert len(columns["sequence_number"]) == 3


def test_an_empty_batch_has_empty_columns() -> None:
    assert trade_records(BATCH.take(slice(0, 0)), catalogue_of()) == []
