"""Trades read back from a real server: whole pages, exact ranges, and only the names that were asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pumpwatch_plugins.sinks.questdb import QuestDBSink, reading

from pumpwatch.model import SPOT
from tests.questdb_server import QuestDBServer
from tests.sinks.stores import CATALOGUE, assert_same, names, read_all
from tests.trades import batch_of, catalogue_of


def test_a_range_ends_before_its_end_and_names_only_what_was_asked(
        sink: QuestDBSink, questdb_server: QuestDBServer, prefix: str) -> None:
    batch = batch_of(100)
    sink.write(batch, CATALOGUE)
    questdb_server.await_count(100, f"{prefix}trades")
    spot = [name for name in names() if name[1] == SPOT]
    found = sink.read(spot, int(batch.timestamp[10]), int(batch.timestamp[20]), CATALOGUE)
    wanted = [row for row in range(10, 20) if CATALOGUE.venues[batch.instrument[row]][1] == SPOT]
    assert found.trade_id.tolist() == batch.trade_id[wanted].tolist()
    assert len(sink.read([], 0, 2**62, CATALOGUE)) == 0


def test_a_statement_for_thousands_of_symbols_is_short_enough_for_the_server(
        sink: QuestDBSink, questdb_server: QuestDBServer, prefix: str) -> None:
    """The server drops the connection of a statement that names each of them."""
    catalogue = catalogue_of(3_000)
    batch = batch_of(20_000, instruments=6_000)
    sink.write(batch, catalogue)
    questdb_server.await_count(20_000, f"{prefix}trades")
    wanted = catalogue.names(range(0, 6_000, 2))
    found = sink.read(wanted, 0, 2**62, catalogue)
    expected = batch.take(batch.instrument % 2 == 0)
    assert_same(found.take(found.timestamp.argsort(kind="stable")), expected)


def test_what_is_read_in_pages_is_whole_also_where_many_have_one_time(
        sink: QuestDBSink, questdb_server: QuestDBServer, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "PAGE_ROWS", 100)
    batch = batch_of(2_000)
    timestamp = batch.timestamp // 10_000_000 * 10_000_000  # fifty each
    timestamp[300:1_000] = timestamp[300]
    batch = replace(batch, timestamp=timestamp)
    sink.write(batch, CATALOGUE)
    questdb_server.await_count(2_000, f"{prefix}trades")
    assert_same(read_all(sink, batch), batch.take(np.lexsort((batch.trade_id, batch.timestamp))))
