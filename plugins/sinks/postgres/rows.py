"""Turn trades into the binary form of COPY, by columns, without an object per trade.

All rows have the same width, so that numpy fills them at once. A row has only the number of its instrument; the statement that
merges the rows gets the names of the instruments. Text ids are padded with zero bytes, which the server removes. Format:
postgresql.org/docs/current/sql-copy.html, "Binary Format". `python -m tests.bench sinks` measures the CPU per row.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from pumpwatch import NO_SEQUENCE, TradeBatch

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
EPOCH_US = 946_684_800_000_000  # PostgreSQL counts from 2000-01-01
US_NS = 1_000
# name, numpy's type, PostgreSQL's
COLUMNS = (
    ("time", ">i8", "timestamptz"), ("received_at", ">i8", "timestamptz"), ("price", ">f8", "float8"),
    ("quantity", ">f8", "float8"), ("trade_id", ">i8", "int8"), ("sequence_number", ">i8", "int8"),
    ("instrument", ">i4", "int4"), ("time_ns", ">i2", "int2"), ("received_ns", ">i2", "int2"), ("flags", ">i2", "int2"),
    ("sell", "u1", "bool"),
)
TEXT_ID = "text_id"
ONCE = " ON CONFLICT DO NOTHING"
STAGE = "pumpwatch_trades"  # the temporary table
Bytes = np.ndarray[Any, np.dtype[np.void]]


def stage_table() -> str:
    """Return the statement that creates the table for COPY; the table is dropped at the end of the transaction."""
    columns = ", ".join(f"{name} {kind}" for name, _, kind in COLUMNS)
    return f"CREATE TEMP TABLE {STAGE} ({columns}, {TEXT_ID} bytea) ON COMMIT DROP"


def copy_statement(batch: TradeBatch) -> str:
    """Return the COPY statement for `copy_body` of this batch."""
    names = [name for name, _, _ in COLUMNS] + ([TEXT_ID] if batch.text_id is not None else [])
    return f"COPY {STAGE} ({', '.join(names)}) FROM STDIN (FORMAT BINARY)"


def copy_body(batch: TradeBatch) -> bytes:
    """Return the whole binary body for a batch."""
    width = 0 if batch.text_id is None else batch.text_id.dtype.itemsize
    rows = np.empty(len(batch), _row(width))
    rows["fields"] = len(COLUMNS) + (1 if width else 0)
    for name, kind, _ in COLUMNS:
        rows[f"{name}_bytes"] = np.dtype(kind).itemsize
    for name, column in stage_columns(batch).items():
        rows[name] = column
    if batch.text_id is not None:
        rows[f"{TEXT_ID}_bytes"] = width
        rows[TEXT_ID] = batch.text_id
    return b"".join((HEADER, rows.tobytes(), TRAILER))


def stage_columns(batch: TradeBatch) -> dict[str, np.ndarray[Any, Any]]:
    """Return the columns of the temporary table, without `text_id`; times in us since 2000, and the ns beyond them."""
    time_us, time_ns = np.divmod(batch.timestamp, US_NS)
    received_us, received_ns = np.divmod(batch.received_at, US_NS)
    return {"time": time_us - EPOCH_US, "received_at": received_us - EPOCH_US, "price": batch.price, "quantity": batch.quantity,
            "trade_id": batch.trade_id, "sequence_number": batch.sequence_number, "instrument": batch.instrument,
            "time_ns": time_ns, "received_ns": received_ns, "flags": batch.flags, "sell": batch.side}


@lru_cache(maxsize=64)
def _row(width: int) -> np.dtype[np.void]:
    """Return the type of a row: the number of fields, then each field after its length."""
    fields: list[tuple[str, str]] = [("fields", ">i2")]
    for name, kind, _ in COLUMNS:
        fields += [(f"{name}_bytes", ">i4"), (name, kind)]
    if width:
        fields += [(f"{TEXT_ID}_bytes", ">i4"), (TEXT_ID, f"S{width}")]
    return np.dtype(fields)


def merge(schema: str, source: str, numbers: str) -> str:
    """Return the INSERT of staged rows; its values are the numbers and names of the batch's instruments.

    source: the temporary table, or a subquery with its columns. Append ONCE to skip trades that exist. A NUMERIC gets the
    shortest digits that represent the double; a plain cast would keep only 15 of 17 digits.
    """
    number = "{}::text::numeric" if numbers == "numeric" else "{}"
    return (
        f"INSERT INTO {schema}.trade_history (time, received_at, price, quantity, sequence_number, time_ns, received_ns, flags,"
        " side, exchange, market_type, symbol, trade_id)"
        f" SELECT t.time, t.received_at, {number.format('t.price')}, {number.format('t.quantity')},"
        f" nullif(t.sequence_number, '{NO_SEQUENCE}'), t.time_ns, t.received_ns, nullif(t.flags, 0),"
        " CASE WHEN t.sell THEN 'sell' ELSE 'buy' END, n.exchange, n.market_type, n.symbol,"
        r" coalesce(convert_from(nullif(rtrim(t.text_id, '\x00'::bytea), ''), 'UTF8'), t.trade_id::text)"
        f" FROM {source} t JOIN unnest(%s::int4[], %s::text[], %s::text[], %s::text[])"
        " n (instrument, exchange, market_type, symbol) USING (instrument)")


def by_unnest() -> str:
    """Return a subquery with the columns of the temporary table, from one array per column, for a server without COPY."""
    arrays = ", ".join(f"%s::{'int8' if kind == 'timestamptz' else kind}[]" for _, _, kind in COLUMNS)
    names = ", ".join(name for name, _, _ in COLUMNS)
    moment = ("'2000-01-01 00:00+00'::timestamptz + {0} / 1000000 * interval '1 second'"
              " + {0} %% 1000000 * interval '1 microsecond'")
    shown = ", ".join(f"{moment.format(name)} AS {name}" if kind == "timestamptz" else name for name, _, kind in COLUMNS)
    return f"(SELECT {shown}, decode({TEXT_ID}, 'hex') {TEXT_ID} FROM unnest({arrays}, %s::text[]) u ({names}, {TEXT_ID}))"


def unnest_values(batch: TradeBatch) -> list[str]:
    """Return the values of `by_unnest`: arrays as PostgreSQL writes them."""
    columns = stage_columns(batch)
    texts = ["NULL"] * len(batch) if batch.text_id is None else [f'"{text.hex()}"' for text in batch.text_id.tolist()]
    return [_array(map(repr, columns[name].tolist()) if kind != "bool" else map(str, columns[name].astype(bool).tolist()))
            for name, _, kind in COLUMNS] + [_array(texts)]


def _array(values: Any) -> str:
    return "{" + ",".join(values) + "}"
