"""Write trades as JSON lines, CSV or Parquet: one row a trade, with the fields of store.trade_rows."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from pumpwatch.catalogue import Catalogue
from pumpwatch.errors import StorageError, UsageError
from pumpwatch.model import TradeBatch
from pumpwatch.store.trade_rows import TRADE_FIELDS, trade_columns, trade_records

CHUNK_ROWS = 10_000


def write_json_lines(batch: TradeBatch, catalogue: Catalogue, out: BinaryIO) -> None:
    """Write one JSON object a line: times are integer ns, ids are text, a missing sequence number is null."""
    encode = msgspec.json.Encoder().encode_lines
    out.writelines(encode(trade_records(chunk, catalogue)) for chunk in _chunks(batch))


def write_csv(batch: TradeBatch, catalogue: Catalogue, out: BinaryIO) -> None:
    """Write CSV with a header line: times are integer ns, a missing sequence number is empty."""
    text = io.TextIOWrapper(out, "utf-8", newline="", write_through=True)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(TRADE_FIELDS)
    for chunk in _chunks(batch):
        writer.writerows(zip(*trade_columns(chunk, catalogue).values(), strict=True))
    text.detach()


def write_parquet(batch: TradeBatch, catalogue: Catalogue, path: Path) -> None:
    """Write a Parquet file with times as UTC timestamps in ns. The file appears whole or not at all.

    Raises UsageError if pyarrow is not installed, StorageError if the file cannot be written.
    """
    try:
        import pandas as pd
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise UsageError("Parquet needs pyarrow, which is not installed",
                         "pip install 'pumpwatch[parquet]', or write --csv or --json") from error
    columns = trade_columns(batch, catalogue)
    frame = pd.DataFrame({
        **columns, "sequence_number": pd.array(columns["sequence_number"], dtype="Int64"),
        "timestamp": pd.to_datetime(batch.timestamp, utc=True),
        "received_at": pd.to_datetime(batch.received_at, utc=True),
    })
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        frame.to_parquet(partial, index=False)
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise StorageError(f"{path}: cannot be written: {error.strerror or error}") from error


def _chunks(batch: TradeBatch) -> Iterator[TradeBatch]:
    for start in range(0, len(batch), CHUNK_ROWS):
        yield batch.take(slice(start, start + CHUNK_ROWS))
