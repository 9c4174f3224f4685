"""A collector with PostgreSQL: what the venues sent is there, each trade once, through an outage."""

from __future__ import annotations

import time
from pathlib import Path

from pumpwatch_plugins.sinks.postgres import PostgresOptions, PostgresSink

from pumpwatch.catalogue import Catalogue
from pumpwatch.sim.process import SimProcess
from pumpwatch.sim.reconcile import compare, names_of
from pumpwatch.store.reader import JournalReader
from tests.app.collector import CollectorProcess
from tests.app.reckoning import settle
from tests.postgres_server import Database

ENDED = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pumpwatch' AND datname = '{}'"


def test_every_trade_is_in_postgresql_once_through_an_outage(tmp_path: Path, postgres: Database) -> None:
    options = {"dsn": postgres.dsn, "statement_timeout_ms": 2_000}
    venues = ["binance.spot", "okx.spot"]
    with SimProcess(venues=venues, symbols=6, rate=1500.0, paused=True, folder=str(tmp_path / "venues")) as sim, \
            CollectorProcess(sim, tmp_path, sinks={"postgres": options}) as collector:
        collector.wait_until_up()
        sim.resume()
        time.sleep(1.0)
        postgres.server.sql(f"ALTER DATABASE {postgres.name} ALLOW_CONNECTIONS false")
        postgres.server.sql(ENDED.format(postgres.name))
        collector.wait_until(lambda figures: figures["sinks"][0]["state"] == "down")
        postgres.server.sql(f"ALTER DATABASE {postgres.name} ALLOW_CONNECTIONS true")
        collector.wait_until(lambda figures: figures["sinks"][0]["state"] == "up")
        settle(sim, collector)
        collector.wait_until(lambda figures: figures["sinks"][0]["backlog_trades"] == 0)
        assert collector.stop() == 0
        truth = sim.truth()
    catalogue = Catalogue()
    JournalReader(collector.data, catalogue).load_instruments()
    sink = PostgresSink(PostgresOptions(dsn=postgres.dsn))
    counted = compare(truth, sink.read(names_of(truth), 0, 2**62, catalogue), catalogue)
    sink.close()
    assert counted.equal and counted.sent > 1500, counted
    assert postgres.value("SELECT count(*) FROM pumpwatch.trade_history") == counted.sent
    log = (tmp_path / "collector.log").read_text()
    assert log.count("sink down") == log.count("sink up again") == 1
    assert "Traceback" not in log
