"""The table of an archive's trades reads back as it was stored, and is the same each time."""

from __future__ import annotations

import io
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pumpwatch.listing.parquet_file import CHUNK, parquet_pieces, pyarrow_version
from pumpwatch.model import SIDES, TradeBatch
from tests.listing.market import catalogue_of_venues, trades

CATALOGUE = catalogue_of_venues()
BATCH = TradeBatch.concat([trades(0, jump_ms=400, rate=100), trades(1, jump_ms=250)])
MARKET = replace(BATCH, sequence_number=np.where(np.arange(len(BATCH)) % 3, BATCH.sequence_number, np.arange(len(BATCH)) + 2**60))


def written(batch: TradeBatch) -> bytes:
    return b"".join(parquet_pieces(batch, [1, 0, 2], CATALOGUE))


@pytest.mark.parametrize("count", [0, 1, CHUNK, CHUNK + 1])
def test_every_trade_reads_back_to_the_digit(count: int) -> None:
    batch = MARKET.take(slice(len(MARKET) - count, None))
    found = pd.read_parquet(io.BytesIO(written(batch)))
    assert found["timestamp"].astype("int64").tolist() == batch.timestamp.tolist()
    assert found["received_at"].astype("int64").tolist() == batch.received_at.tolist()
    assert found["price"].tolist() == batch.price.tolist()
    assert found["quantity"].tolist() == batch.quantity.tolist()
    assert found["trade_id"].tolist() == batch.id_texts()
    assert found["side"].tolist() == [SIDES[side] for side in batch.side]
    assert found["flags"].tolist() == batch.flags.tolist()
    names = list(zip(found["exchange"], found["market_type"], found["symbol"], strict=True))
    assert names == CATALOGUE.names(batch.instrument)


def test_a_missing_sequence_number_is_null_and_a_large_one_exact() -> None:
    from pyarrow import parquet

    column = parquet.read_table(io.BytesIO(written(MARKET)))["sequence_number"].to_pylist()
    assert column[:4] == [2**60, None, None, 2**60 + 3]


def test_the_same_trades_give_the_same_bytes() -> None:
    assert len({written(MARKET) for _ in range(20)}) == 1


def test_without_the_extra_there_is_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    assert pyarrow_version()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert pyarrow_version() == ""
