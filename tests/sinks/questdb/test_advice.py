"""States and settings of a server that hurt are named with the statement that mends them."""

from __future__ import annotations

import time

from pumpwatch_plugins.sinks.questdb import QuestDBOptions, QuestDBSink

from pumpwatch.sink_abilities import AdvisingSink
from tests.questdb_server import QuestDBServer


def test_a_server_as_it_comes_needs_no_advice(sink: QuestDBSink, questdb_server: QuestDBServer) -> None:
    assert isinstance(sink, AdvisingSink) and list(sink.advice()) == []
    assert list(QuestDBSink(QuestDBOptions(addr=questdb_server.addr, table_prefix="none_")).advice()) == []


def test_a_table_that_was_changed_is_named_and_the_statements_mend_it(
        sink: QuestDBSink, questdb_server: QuestDBServer, prefix: str) -> None:
    table = f"{prefix}trades"
    questdb_server.sql(f"ALTER TABLE {table} DEDUP DISABLE")
    questdb_server.sql(f"ALTER TABLE {table} SET PARAM o3MaxLag = 900s")
    questdb_server.sql(f"ALTER TABLE {table} SUSPEND WAL")
    assert f"ALTER TABLE {table} RESUME WAL" in [mend for _, mend in sink.advice()]
    deadline = time.monotonic() + 60
    while (advice := list(sink.advice())) and time.monotonic() < deadline:
        for _, mend in advice:
            questdb_server.sql(mend)
        time.sleep(0.2)  # statements are applied like rows, a little later
    assert advice == []
