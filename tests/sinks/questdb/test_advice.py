"""States and settings of a server that hurt are named with the statement that mends them."""

from __future__ import annotations

import time

from pumpwatch_plugins.sinks.questdb import QuestDBOptions, QuestDBSink

from pumpwatch.sink_abilities import AdvisingSink
from tests.questdb_server import QuestDBServer


def mends(sink: QuestDBSink, wanted: list[str]) -> list[str]:
    """Return the statements that are advised, once they are the wanted ones or a minute is over.

    Changes of a table are applied like rows, a little later.
    """
    deadline = time.monotonic() + 60
    while True:
        advised = [mend for _, mend in sink.advice()]
        if advised == wanted or time.monotonic() > deadline:
            return advised
        time.sleep(0.2)


def test_a_server_as_it_comes_needs_no_advice(sink: QuestDBSink, questdb_server: QuestDBServer) -> None:
    assert isinstance(sink, AdvisingSink) and list(sink.advice()) == []
    assert list(QuestDBSink(QuestDBOptions(addr=questdb_server.addr, table_prefix="none_")).advice()) == []


def test_a_table_that_was_changed_is_named_and_the_statements_mend_it(
        sink: QuestDBSink, questdb_server: QuestDBServer, prefix: str) -> None:
    table = f"{prefix}trades"
    keys = "timestamp, exchange, market_type, symbol, trade_id"
    changed = [f"ALTER TABLE {table} DEDUP ENABLE UPSERT KEYS({keys})", f"ALTER TABLE {table} SET PARAM o3MaxLag = 600s"]
    questdb_server.sql(f"ALTER TABLE {table} DEDUP DISABLE")
    questdb_server.sql(f"ALTER TABLE {table} SET PARAM o3MaxLag = 900s")
    assert mends(sink, changed) == changed
    suspended = [f"ALTER TABLE {table} RESUME WAL", *changed]
    questdb_server.suspend(table)
    assert mends(sink, suspended) == suspended
    for statement in suspended:
        questdb_server.sql(statement)
    assert mends(sink, []) == []
