"""PostgreSQL killed, full of locks and back while trades come: the drain loses none, doubles none, and says each once."""

from __future__ import annotations

import logging
from pathlib import Path

import gevent
import pytest
from pumpwatch_plugins.sinks.postgres import PostgresOptions, PostgresSink

from pumpwatch.clock import Clock
from pumpwatch.config import DrainConfig
from pumpwatch.stats import Stats
from pumpwatch.store.drain import Drain
from pumpwatch.store.journal import Journal
from tests.postgres_server import PostgresServer
from tests.trades import batch_of, catalogue_of

BATCH = 200


class Recording:
    """A journal and a drain to PostgreSQL in this process, and the ids of all trades that the journal has."""

    def __init__(self, server: PostgresServer, folder: Path) -> None:
        clock, stats, catalogue = Clock(), Stats(), catalogue_of(50)
        self.journal = Journal(folder, catalogue, clock, stats)
        self.journal.open()
        sink = PostgresSink(PostgresOptions(dsn=server.dsn(), statement_timeout_ms=2_000))
        options = DrainConfig(flush_ms=20.0, flush_rows=1_000, catch_up_rows=5_000, memory_rows=2_000)
        self.drain = Drain("postgres", sink, self.journal, catalogue, stats, clock, lambda records: None, options,
                           trouble_poll_s=0.2)
        self.made = 0
        self._running = gevent.spawn(self.drain.run)

    def trade(self, batches: int) -> None:
        """Make so many batches durable, and offer them."""
        for _ in range(batches):
            batch = batch_of(BATCH, first_id=self.made + 1, instruments=100, step_ns=1_000, seed=self.made)
            self.drain.offer(self.journal.commit(batch), batch)
            self.made += BATCH
            gevent.sleep(0.002)

    def wait_for(self, state: str) -> None:
        with gevent.Timeout(60):
            while self.drain.state != state:
                gevent.sleep(0.01)

    def finish(self) -> None:
        """Wait until everything is sent, and stop."""
        with gevent.Timeout(60):
            while self.drain.lag_rows:
                gevent.sleep(0.01)
        self.drain.stop()
        self._running.join(10)
        self.journal.close()


def test_a_killed_server_gets_everything_exactly_once_when_it_is_back(
        private_postgres: PostgresServer, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    recording = Recording(private_postgres, tmp_path)
    recording.trade(20)
    recording.wait_for("up")
    private_postgres.kill()
    recording.trade(30)
    recording.wait_for("down")
    assert recording.drain.lag_rows >= 30 * BATCH, "they stay in the journal"
    private_postgres.start()
    recording.trade(10)
    recording.finish()
    found = private_postgres.sql("SELECT count(*), count(DISTINCT trade_id), min(trade_id::int), max(trade_id::int)"
                                 " FROM pumpwatch.trade_history")
    assert found == [(recording.made, recording.made, 1, recording.made)]
    said = [line for line in caplog.messages if "state=" in line]
    assert len(said) == 2 and "state=down" in said[0] and "state=up" in said[1]
