"""Fixtures of the QuestDB sink's tests. They share one server; each test has tables of its own."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest
from pumpwatch_plugins.sinks.questdb import QuestDBOptions, QuestDBSink

from tests.questdb_server import QuestDBServer

PREFIXES = (f"s{number}_" for number in count())


@pytest.fixture
def prefix() -> str:
    """Tables of this test's own."""
    return next(PREFIXES)


@pytest.fixture
def sink(questdb_server: QuestDBServer, prefix: str) -> Iterator[QuestDBSink]:
    made = QuestDBSink(QuestDBOptions(addr=questdb_server.addr, table_prefix=prefix, candles=False))
    made.open()
    yield made
    made.close()
