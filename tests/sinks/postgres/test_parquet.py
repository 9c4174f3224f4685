"""A table of trades becomes Parquet with the columns that it has in QuestDB."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pyarrow.parquet
from pumpwatch_plugins.sinks.postgres import PostgresOptions, PostgresSink
from pumpwatch_plugins.sinks.postgres.parquet import write_trades
from pumpwatch_plugins.sinks.postgres.server import Server

from tests.postgres_server import Database
from tests.sinks.stores import CATALOGUE
from tests.trades import batch_of


def test_odd_values_survive_and_an_empty_table_is_an_empty_file(sink: PostgresSink, postgres: Database) -> None:
    server = Server(PostgresOptions(dsn=postgres.dsn))
    empty = io.BytesIO()
    write_trades(server, "pumpwatch.trade_history", empty)
    assert pyarrow.parquet.read_table(empty).num_rows == 0
    text = np.array([b'a "b", c\\', b"007", b"", "é\n".encode()], "S12")
    batch = replace(batch_of(4), text_id=text, trade_id=np.array([0, 0, -5, 0]), flags=np.array([0, 4, 8, 255], np.uint8),
                    sequence_number=np.array([1, 2, 3, 2**62]), price=np.array([1e-18, 0.1, 1 / 3, 1e300]))
    assert sink.write(batch, CATALOGUE).accepted == 4
    file = io.BytesIO()
    write_trades(server, "pumpwatch.trade_history", file)
    table = pyarrow.parquet.read_table(file)
    assert table["trade_id"].to_pylist() == ['a "b", c\\', "007", "-5", "é\n"]
    for name, column in (("price", batch.price), ("flags", batch.flags), ("sequence_number", batch.sequence_number)):
        np.testing.assert_array_equal(table[name].to_numpy(), column)
    np.testing.assert_array_equal(table["received_at"].cast("int64").to_numpy(), batch.received_at)
    server.close_idle()
