"""Trades as bytes, a piece at a time: JSON lines, CSV, Arrow and Parquet, with the fields of `store.trade_rows`."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import msgspec
import numpy as np

from pumpwatch.catalogue import Catalogue
from pumpwatch.model import NO_SEQUENCE, SIDES, TradeBatch
from pumpwatch.store.trade_rows import TRADE_FIELDS, trade_columns

PIECE_ROWS = 5_000  # of JSON lines and CSV: about a megabyte


class TradeRow(msgspec.Struct, gc=False):
    """One trade, with the fields of TRADE_FIELDS.

    price is in the quote currency, quantity in base units; times are in ns UTC; sequence_number is null where there is none.
    """

    exchange: str
    market_type: str
    symbol: str
    side: str
    price: float
    quantity: float
    trade_id: str
    sequence_number: int | None
    timestamp: int
    received_at: int
    flags: int


def trade_rows(batch: TradeBatch, catalogue: Catalogue) -> list[TradeRow]:
    """Return one row for each trade."""
    return list(map(TradeRow, *trade_columns(batch, catalogue).values()))


def json_lines(batches: Iterable[TradeBatch], catalogue: Catalogue) -> Iterator[bytes]:
    """Yield one JSON object a line."""
    encode = msgspec.json.Encoder().encode_lines
    for batch in _pieces(batches):
        yield encode(trade_rows(batch, catalogue))


def csv_lines(batches: Iterable[TradeBatch], catalogue: Catalogue) -> Iterator[bytes]:
    """Yield CSV with a header line."""
    yield (",".join(TRADE_FIELDS) + "\n").encode()
    for batch in _pieces(batches):
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows(zip(*trade_columns(batch, catalogue).values(), strict=True))
        yield text.getvalue().encode()


def _pieces(batches: Iterable[TradeBatch]) -> Iterator[TradeBatch]:
    for batch in batches:
        for start in range(0, len(batch), PIECE_ROWS):
            yield batch.take(slice(start, start + PIECE_ROWS))


class _Writer(Protocol):
    def write_table(self, table: Any, /) -> None: ...

    def close(self) -> None: ...


def arrow_stream(batches: Iterable[TradeBatch], catalogue: Catalogue) -> Iterator[bytes]:
    """Yield a stream of Arrow record batches. Raises ImportError where pyarrow is not installed."""
    import pyarrow

    yield from _written(batches, catalogue, pyarrow.ipc.new_stream)


def parquet_file(batches: Iterable[TradeBatch], catalogue: Catalogue) -> Iterator[bytes]:
    """Yield a Parquet file, each batch as a row group. Raises ImportError where pyarrow is not installed."""
    from pyarrow import parquet

    yield from _written(batches, catalogue, lambda out, schema: parquet.ParquetWriter(out, schema, compression="zstd"))


def _written(batches: Iterable[TradeBatch], catalogue: Catalogue, open_writer: Callable[[Any, Any], _Writer]) -> Iterator[bytes]:
    import pyarrow

    out = io.BytesIO()
    place = 0

    def fresh() -> bytes:
        nonlocal place
        content = out.getvalue()
        out.seek(0)
        out.truncate()
        return content

    class Forward(io.RawIOBase):
        """A file that only grows, of which no more is kept than has not been yielded."""

        def writable(self) -> bool:
            return True

        def tell(self) -> int:
            return place

        def write(self, data: Any, /) -> int:
            nonlocal place
            place += out.write(data)
            return len(data)

    writer = open_writer(pyarrow.PythonFile(Forward(), "w"), _schema())
    for batch in batches:
        writer.write_table(_table(batch, catalogue))
        yield fresh()
    writer.close()
    yield fresh()


def _schema() -> Any:
    import pyarrow

    name, moment = pyarrow.dictionary(pyarrow.int32(), pyarrow.string()), pyarrow.timestamp("ns", tz="UTC")
    kinds = {"exchange": name, "market_type": name, "symbol": name, "side": name, "price": pyarrow.float64(),
             "quantity": pyarrow.float64(), "trade_id": pyarrow.string(), "sequence_number": pyarrow.int64(), "timestamp": moment,
             "received_at": moment, "flags": pyarrow.int64()}
    return pyarrow.schema([(field, kinds[field]) for field in TRADE_FIELDS])


def _table(batch: TradeBatch, catalogue: Catalogue) -> Any:
    import pyarrow

    held, rows = np.unique(batch.instrument, return_inverse=True)
    names = list(zip(*catalogue.names(held), strict=True)) or [(), (), ()]
    schema = _schema()

    def named(field: str, values: Iterable[str]) -> Any:
        given = list(values)
        distinct = list(dict.fromkeys(given))
        place = np.array([distinct.index(value) for value in given], np.int32)
        indices = batch.side.astype(np.int32) if field == "side" else place[rows] if len(place) else np.empty(0, np.int32)
        return pyarrow.DictionaryArray.from_arrays(pyarrow.array(indices, pyarrow.int32()),
                                                   pyarrow.array(distinct, pyarrow.string()))

    texts = (pyarrow.array(batch.trade_id).cast(pyarrow.string()) if batch.text_id is None
             else pyarrow.array(batch.id_texts(), pyarrow.string()))
    columns = {
        "exchange": named("exchange", names[0]), "market_type": named("market_type", names[1]),
        "symbol": named("symbol", names[2]), "side": named("side", SIDES), "price": pyarrow.array(batch.price),
        "quantity": pyarrow.array(batch.quantity), "trade_id": texts,
        "sequence_number": pyarrow.array(batch.sequence_number, mask=batch.sequence_number == NO_SEQUENCE),
        "timestamp": pyarrow.array(batch.timestamp).cast(schema.field("timestamp").type),
        "received_at": pyarrow.array(batch.received_at).cast(schema.field("received_at").type),
        "flags": pyarrow.array(batch.flags.astype(np.int64))}
    return pyarrow.table(columns, schema=schema)


FORMATS: dict[str, tuple[str, Callable[[Iterable[TradeBatch], Catalogue], Iterator[bytes]]]] = {
    "ndjson": ("application/x-ndjson", json_lines), "csv": ("text/csv; charset=utf-8", csv_lines),
    "arrow": ("application/vnd.apache.arrow.stream", arrow_stream),
    "parquet": ("application/vnd.apache.parquet", parquet_file),
}
