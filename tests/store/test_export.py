"""Trades leave as JSON lines, CSV, Parquet and table cells, with ids as text and times in ns."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pumpwatch.errors import UsageError
from pumpwatch.model import Flag
from pumpwatch.store.export import write_csv, write_json_lines, write_parquet
from pumpwatch.store.trade_rows import TRADE_FIELDS
from tests.trades import batch_of, catalogue_of

CATALOGUE = catalogue_of()
START = 1_700_000_000_123_456_789


def trades(rows: int = 3):  # type: ignore[no-untyped-def]
    batch = batch_of(rows, start_ns=START)
    sequence, flags = batch.sequence_number.copy(), batch.flags.copy()
    sequence[1], flags[2] = 77, Flag.ADL
    return replace(batch, sequence_number=sequence, flags=flags, price=np.linspace(0.1, 3e-7, rows),
                   text_id=np.array([b"ab,\"c", *[b""] * (rows - 1)]))


def test_json_lines_have_stable_keys_and_exact_numbers() -> None:
    out, batch = io.BytesIO(), trades()
    write_json_lines(batch, CATALOGUE, out)
    rows = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [tuple(row) for row in rows] == [TRADE_FIELDS] * 3
    assert [row["price"] for row in rows] == batch.price.tolist()
    assert [row["timestamp"] for row in rows] == batch.timestamp.tolist()
    assert [row["trade_id"] for row in rows] == ['ab,"c', "2", "3"]
    assert [row["sequence_number"] for row in rows] == [None, 77, None]
    assert {row["side"] for row in rows} <= {"buy", "sell"}


def test_csv_reads_back() -> None:
    out, batch = io.BytesIO(), trades()
    write_csv(batch, CATALOGUE, out)
    rows = list(csv.DictReader(io.StringIO(out.getvalue().decode())))
    assert [float(row["price"]) for row in rows] == batch.price.tolist()
    assert [row["trade_id"] for row in rows] == ['ab,"c', "2", "3"]
    assert [row["sequence_number"] for row in rows] == ["", "77", ""]


def test_no_trades_give_an_empty_file_with_a_header_where_there_is_one() -> None:
    lines, table, nothing = io.BytesIO(), io.BytesIO(), trades().take(slice(0, 0))
    write_json_lines(nothing, CATALOGUE, lines)
    write_csv(nothing, CATALOGUE, table)
    assert lines.getvalue() == b""
    assert table.getvalue().decode() == ",".join(TRADE_FIELDS) + "\n"


def test_more_trades_than_a_chunk_are_all_written() -> None:
    out, batch = io.BytesIO(), trades(25_001)
    write_json_lines(batch, CATALOGUE, out)
    ids = [json.loads(line)["trade_id"] for line in out.getvalue().splitlines()]
    assert ids == batch.id_texts()


def test_parquet_keeps_types_or_says_what_is_missing(tmp_path: Path) -> None:
    path, batch = tmp_path / "trades.parquet", trades()
    if importlib.util.find_spec("pyarrow") is None:
        with pytest.raises(UsageError, match="pyarrow"):
            write_parquet(batch, CATALOGUE, path)
        assert list(tmp_path.iterdir()) == []
        return
    import pandas as pd

    write_parquet(batch, CATALOGUE, path)
    frame = pd.read_parquet(path)
    assert list(frame.columns) == list(TRADE_FIELDS)
    assert frame["timestamp"].astype("int64").tolist() == batch.timestamp.tolist()
    assert frame["sequence_number"].isna().tolist() == [True, False, True]
    assert frame["trade_id"].tolist() == batch.id_texts()
