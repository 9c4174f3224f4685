"""Copy the trades of one table as Parquet: the server sends CSV, and pyarrow parses it by columns."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import closing
from typing import Any, BinaryIO

from pumpwatch_plugins.sinks.postgres.server import Server

from pumpwatch import ServiceUnavailable

COPY_MS = 3_600_000
BLOCK_BYTES = 8 << 20
MOMENT = "(extract(epoch FROM {0}) * 1000000)::bigint * 1000 + {1}"
# name, the SQL of it, pyarrow's type
COLUMNS = (
    ("timestamp", MOMENT.format("time", "time_ns"), "timestamp"), ("exchange", "exchange", "string"),
    ("market_type", "market_type", "string"), ("symbol", "symbol", "string"), ("side", "side", "string"),
    ("price", "price", "double"), ("quantity", "quantity", "double"), ("trade_id", "trade_id", "string"),
    ("sequence_number", "sequence_number", "int64"),
    ("received_at", MOMENT.format("received_at", "received_ns"), "timestamp"), ("flags", "coalesce(flags, 0)", "int16"),
)


class _Pieces(io.RawIOBase):
    """A readable file of the pieces of a COPY."""

    def __init__(self, pieces: Iterator[Any]) -> None:
        self._pieces, self._rest = pieces, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._rest:
            self._rest = bytes(next(self._pieces, b""))
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size


def write_trades(server: Server, table: str, file: BinaryIO) -> None:
    """Write every trade of a table, ordered by time. Raises ServiceUnavailable without the server or without pyarrow."""
    try:
        import pyarrow
        import pyarrow.csv
        import pyarrow.parquet
    except ImportError:
        raise ServiceUnavailable("pyarrow is not installed", "pip install 'pumpwatch[parquet]'") from None
    types = {"timestamp": pyarrow.int64(), "string": pyarrow.string(), "double": pyarrow.float64(), "int64": pyarrow.int64(),
             "int16": pyarrow.int16()}
    reading = {name: types[kind] for name, _, kind in COLUMNS}
    written = pyarrow.schema([(name, pyarrow.timestamp("ns", "UTC") if kind == "timestamp" else types[kind])
                              for name, _, kind in COLUMNS])
    wanted = ", ".join(f"{select} AS {name}" for name, select, _ in COLUMNS)
    statement = f"COPY (SELECT {wanted} FROM {table} ORDER BY time, time_ns) TO STDOUT (FORMAT CSV)"
    with (server.session(COPY_MS) as connection, connection.cursor() as cursor, cursor.copy(statement.encode()) as copy,
          pyarrow.parquet.ParquetWriter(file, written, compression="zstd") as parquet):
        source = io.BufferedReader(_Pieces(iter(copy)), 1 << 20)
        if not source.peek(1):
            return
        with closing(pyarrow.csv.open_csv(
                source, pyarrow.csv.ReadOptions(column_names=list(reading), block_size=BLOCK_BYTES),
                convert_options=pyarrow.csv.ConvertOptions(column_types=reading, strings_can_be_null=False))) as batches:
            for batch in batches:
                parquet.write_table(pyarrow.Table.from_batches([batch]).cast(written))
