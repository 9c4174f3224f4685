"""Questions go to a replica while it is near, and to the primary while it is not."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from pumpwatch_plugins.sinks.postgres import PostgresOptions, PostgresSink
from pumpwatch_plugins.sinks.postgres import reading as module
from pumpwatch_plugins.sinks.postgres.reading import Readers, batch_of
from pumpwatch_plugins.sinks.postgres.server import Server

from tests.postgres_server import Database, free_port
from tests.sinks.stores import CATALOGUE, names
from tests.trades import batch_of as made_batch


@pytest.fixture
def readers(postgres: Database, monkeypatch: pytest.MonkeyPatch) -> Readers:
    """Readers whose replica is another database of the same server, so that an answer tells who gave it."""
    monkeypatch.setattr(module, "LAG_EVERY_S", 0.0)
    monkeypatch.setattr(module, "LAG", "SELECT behind_s FROM lag")
    replica = postgres.server.create_database()
    postgres.server.sql("CREATE TABLE lag AS SELECT 1.5 behind_s", replica)
    options = PostgresOptions(dsn=postgres.dsn, read_dsn=postgres.server.dsn(replica), read_lag_s=60)
    return Readers(Server(options), options)


def test_a_near_replica_answers_and_one_far_behind_does_not(readers: Readers, postgres: Database,
                                                            caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    replica = readers._replica
    assert replica is not None
    asked = "SELECT current_database()::text"
    name = replica.rows(asked)[0][0]
    assert readers.rows(asked) == [(name,)]
    for _ in range(2):
        postgres.server.sql("UPDATE lag SET behind_s = 7200", name)
        assert readers.rows(asked) == [(postgres.name,)]
    postgres.server.sql("UPDATE lag SET behind_s = 0", name)
    assert readers.rows(asked) == [(name,)]
    assert [line for line in caplog.messages if "replica" in line] == [
        f"replica not used, the primary answers sink=postgres reason='{replica.place} is 7,200 s behind'",
        "replica used again sink=postgres"]
    readers.close()


def test_a_replica_that_is_gone_is_left_alone(postgres: Database, sink: PostgresSink) -> None:
    sink.write(batch := made_batch(20), CATALOGUE)
    reader = PostgresSink(PostgresOptions(dsn=postgres.dsn, read_dsn=f"postgresql://127.0.0.1:{free_port()}/x"))
    assert len(reader.read(names(), int(batch.timestamp[0]), 2**62, CATALOGUE)) == 20
    reader.close()


def test_a_primary_is_not_behind(postgres: Database) -> None:
    assert Server(PostgresOptions(dsn=postgres.dsn)).rows(module.LAG) == [(0,)]


def test_names_that_are_not_asked_for_are_left_out(sink: PostgresSink) -> None:
    sink.write(batch := made_batch(400), CATALOGUE)
    wanted = names()[3:5]
    found = sink.read(wanted, 0, 2**62, CATALOGUE)
    assert len(found) == int(np.isin(batch.instrument, [3, 4]).sum()) and set(found.instrument.tolist()) == {3, 4}
    assert len(sink.read([], 0, 2**62, CATALOGUE)) == len(sink.read(wanted, 5, 5, CATALOGUE)) == 0


def test_ids_that_no_number_gives_back_stay_text() -> None:
    row = (1, 5, 7, True, 1.0, 2.0, "007", None, 6, 8, None)
    batch = batch_of([row, (*row[:6], "7", 3, *row[8:])])
    assert batch.id_texts() == ["007", "7"]
    assert (batch.timestamp[0], batch.received_at[0], batch.flags[0], batch.sequence_number[1]) == (5_007, 6_008, 0, 3)
