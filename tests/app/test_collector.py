"""A collector starts and ends: its log, its exit code, and what is written down at the very end."""

from __future__ import annotations

import resource
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pumpwatch.app.collector import Collector
from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.config import Config, ExchangeConfig, StoreConfig
from pumpwatch.errors import EXIT_CONFIG, EXIT_DISK, ConfigError
from pumpwatch.plugins import load_plugins
from pumpwatch.sim.process import SimProcess
from pumpwatch.stats import Stats
from pumpwatch.store.journal import Journal
from pumpwatch.store.ledger import Ledger
from tests.app.collector import CollectorProcess
from tests.trades import batch_of, catalogue_of

VENUES = ["binance.spot", "binance.futures"]
ODD = {"plugins": {"folder": str(Path(__file__).parent / "sinks")}}


def simulation(folder: Path, **options) -> SimProcess:
    return SimProcess(venues=VENUES, symbols=5, rate=500.0, folder=str(folder / "venues"), **options)


def trades(figures) -> int:
    return sum(row["trades_total"] for row in figures["venues"])


def test_without_a_config_every_venue_that_ships_is_collected(tmp_path):
    collector = Collector(Config(store=StoreConfig(dir=str(tmp_path))))
    shipped = {venue.name for venue in load_plugins(Config()).venues if not venue.variant}
    assert {venue.name for venue, _ in collector.chosen} == shipped
    assert list(tmp_path.iterdir()) == []


def test_a_config_that_leaves_no_venue_is_refused_before_anything_is_opened(tmp_path):
    config = Config(exchanges={"binance": ExchangeConfig(enabled=False)}, store=StoreConfig(dir=str(tmp_path / "data")))
    with pytest.raises(ConfigError, match="no venue"):
        Collector(config)
    assert not (tmp_path / "data").exists()


def test_a_sink_that_only_a_person_can_mend_ends_the_start_with_78_and_one_message(tmp_path):
    with simulation(tmp_path) as sim, CollectorProcess(sim, tmp_path, sinks={"odd": {"way": "misfit"}}, **ODD) as collector:
        assert collector.child.wait(30) == EXIT_CONFIG
    assert "column price is STRING, expected DOUBLE\n  drop the table" in collector.log()
    assert "Traceback" not in collector.log()
    ledger = Ledger(collector.data)
    ledger.close()
    assert not (collector.data / "status.json").exists() or '"pid":0' in (collector.data / "status.json").read_text("utf-8")


def test_a_sink_that_is_away_is_one_line_in_the_log_and_no_traceback(tmp_path):
    with simulation(tmp_path) as sim, CollectorProcess(sim, tmp_path, sinks={"odd": {"way": "away"}}, **ODD) as collector:
        collector.wait_until(lambda figures: trades(figures) > 500)
        assert collector.figures()["sinks"][0]["state"] == "down"
        assert collector.stop() == 0
    assert collector.log().count("state=down") == 1
    assert "Traceback" not in collector.log() and "failed with" not in collector.log()


def test_what_a_sink_refuses_at_the_very_end_is_in_the_quarantine(tmp_path):
    with simulation(tmp_path) as sim, CollectorProcess(
            sim, tmp_path, sinks={"odd": {"way": "picky"}}, drain={"flush_ms": 60_000.0}, **ODD) as collector:
        collector.wait_until(lambda figures: trades(figures) > 300)
        ledger = Ledger(collector.data)
        assert ledger.quarantine_count() == 0
        assert collector.stop() == 0
    refused = ledger.quarantine()
    ledger.close()
    assert refused and all(row.reason == "sink odd: not this one" for row in refused)


def test_trades_that_the_disk_did_not_take_at_the_end_are_said_and_the_exit_code_is_74(tmp_path):
    with simulation(tmp_path) as sim, CollectorProcess(sim, tmp_path) as collector:
        collector.wait_until(lambda figures: figures["journal"]["durable_trades"] > 300)
        limit = 16 << 10  # of a file's size: no journal file fits into it, and the log does
        resource.prlimit(collector.child.pid, resource.RLIMIT_FSIZE, (limit, limit))
        deadline = time.monotonic() + 30
        while "journal commit failed" not in collector.log():
            assert time.monotonic() < deadline, collector.log()
            time.sleep(0.05)
        assert collector.stop() == EXIT_DISK
    assert "trades lost at stop, the journal did not take them trades=" in collector.log()
    assert "Traceback" not in collector.log()


def test_a_venue_that_was_down_when_the_last_run_ended_is_missed_from_its_own_last_trade_on(tmp_path):
    journal = Journal(tmp_path / "data", catalogue_of(1), Clock(), Stats())
    journal.open()
    now_ns = Clock().now_ns()
    newest_ns = {0: now_ns - 3600 * NS_PER_S, 1: now_ns - 10 * NS_PER_S}
    for number, at_ns in newest_ns.items():
        journal.commit(replace(batch_of(1, start_ns=at_ns), instrument=np.array([number], np.int32)))
    journal.close()
    with simulation(tmp_path) as sim, CollectorProcess(sim, tmp_path) as collector:
        collector.wait_until(lambda figures: trades(figures) > 0)
        assert collector.stop() == 0
    ledger = Ledger(collector.data)
    from_ns = {gap.market_type: gap.from_ns for _, gap in ledger.gaps() if gap.reason.startswith("not running")}
    ledger.close()
    assert newest_ns[0] - 2 * NS_PER_S < from_ns["spot"] < newest_ns[0]
    assert newest_ns[1] - 2 * NS_PER_S < from_ns["futures"] < newest_ns[1]
