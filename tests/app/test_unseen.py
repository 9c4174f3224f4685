"""A collector records a gap for what it cannot see: venues that are not there, symbols that leave the list."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from pumpwatch.model import Gap
from pumpwatch.ops.doctor import examine
from pumpwatch.sim.process import SimProcess
from pumpwatch.sim.reconcile import compare
from pumpwatch.store.ledger import Ledger
from tests.app.collector import CollectorProcess
from tests.app.coverage import covered, missing
from tests.app.reckoning import counted_in_journal, stored_of
from tests.app.slow_line import SlowLine

VENUES = ["binance.spot", "binance.futures"]


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def pointed_nowhere(sim: SimProcess, venue: str, *urls: str) -> dict[str, Any]:
    """Return the exchanges section of a config in which these addresses of a venue have nobody behind them."""
    exchanges = yaml.safe_load(sim.config_yaml())["exchanges"]
    exchange, market_type = venue.split(".")
    for url in urls:
        exchanges[exchange][market_type][url] = f"{'wss' if url == 'ws_url' else 'https'}://127.0.0.1:{closed_port()}"
    return exchanges


def gaps_in(folder: Path) -> list[Gap]:
    ledger = Ledger(folder)
    found = [gap for _, gap in ledger.gaps()]
    ledger.close()
    return found


def findings(collector: CollectorProcess) -> dict[str, tuple[str, str]]:
    return {one.name: (one.state, one.detail) for one in examine(collector.data)}


def test_a_start_without_any_venue_is_a_gap_of_each_a_warning_and_a_failure_of_doctor(tmp_path):
    port = closed_port()
    with SimProcess(venues=VENUES, symbols=3, rate=100.0, paused=True, folder=str(tmp_path / "venues"),
                    ports={"binance.spot": port}) as sim:
        exchanges = yaml.safe_load(sim.config_yaml())["exchanges"]
    collector = CollectorProcess(sim, tmp_path, exchanges=exchanges, log={"summary_s": 1.0})
    began_ns = time.time_ns()
    with collector:
        collector.wait_until(lambda figures: all(row["list_problem"] and row["gaps_open"] for row in figures["venues"]))
        found = findings(collector)
        deadline = time.monotonic() + 30
        while "| problems: " not in collector.log() and time.monotonic() < deadline:
            time.sleep(0.1)
        stopped_ns = time.time_ns()
        assert collector.stop() == 0
        for name in VENUES:
            assert found[name][0] == "fail" and "nothing is read: no instrument list" in found[name][1]
        line = next(line for line in collector.log().splitlines() if "| problems: " in line)
        assert " WARNING " in line and "binance.spot: nothing is read" in line
        first = gaps_in(collector.data)
        assert {(gap.exchange, gap.market_type) for gap in first} == {("binance", "spot"), ("binance", "futures")}
        for gap in first:
            assert began_ns < gap.from_ns < gap.to_ns and gap.to_ns > stopped_ns and not gap.symbol

        collector.start()  # the run before has stored nothing, and yet there was one
        collector.wait_until(lambda figures: all(row["gaps_open"] for row in figures["venues"]))
        assert collector.stop() == 0
        second = [gap for gap in gaps_in(collector.data) if gap not in first]
        assert {gap.reason for gap in second} >= {"not running"}
        assert all(min(gap.from_ns for gap in second) <= gap.to_ns for gap in first)


def test_one_venue_without_connections_is_a_gap_that_names_its_symbols_and_a_failure_of_doctor(tmp_path, forked_cli):
    with SimProcess(venues=VENUES, symbols=3, rate=300.0, paused=True, folder=str(tmp_path / "venues")) as sim, \
            CollectorProcess(sim, tmp_path, exchanges=pointed_nowhere(sim, "binance.futures", "ws_url")) as collector:
        figures = collector.wait_until(lambda figures: figures["venues"][0]["connections_up"] and figures["venues"][1]["problem"])
        found = findings(collector)
        done = forked_cli("gaps", "--json", "-c", collector.config_file)
        assert collector.stop() == 0
    assert found["binance.futures"][0] == "fail" and "connection 0: " in found["binance.futures"][1]
    assert "refused" in figures["venues"][1]["problem"] and "binance.spot" not in found
    assert done.returncode == 1 and {json.loads(line)["market_type"] for line in done.stdout.splitlines()} == {"futures"}
    gaps = gaps_in(collector.data)
    assert gaps and all(gap.market_type == "futures" for gap in gaps)


def test_a_symbol_that_leaves_the_list_and_returns_is_a_gap_in_between(tmp_path):
    with SimProcess(venues=["binance.spot"], symbols=["BTC", "ETH", "XRP", "SOL", "DOGE", "ADA"], rate=600.0, paused=True,
                    folder=str(tmp_path / "venues")) as sim, \
            CollectorProcess(sim, tmp_path, roster_refresh_s=1.0) as collector:
        listed = collector.wait_until_up()["venues"][0]["subscribed"]
        sim.fault("rest", form="without", symbol="XRPUSDT", seconds=600.0)
        collector.wait_until(lambda figures: figures["venues"][0]["instruments"] == listed - 1)
        gone_ns = time.time_ns()
        sim.resume()  # it trades, and nobody reads it
        time.sleep(2.0)
        sim.fault("rest", form="without", symbol="", seconds=1.0)
        collector.wait_until(lambda figures: figures["venues"][0]["subscribed"] == listed)
        back_ns = time.time_ns()
        time.sleep(1.5)
        sim.pause()
        time.sleep(1.0)
        assert collector.stop() == 0
        truth = sim.truth()
    assert counted_in_journal(truth, collector.data).equal
    (gap,) = gaps_in(collector.data)
    assert gap.symbol == "XRPUSDT" and gap.from_ns < gone_ns and gap.to_ns > back_ns - 2 * 10**9
    unread = truth.records[truth.records["state"] == 10]["timestamp"]
    assert len(unread) > 50 and ((unread >= gap.from_ns) & (unread < gap.to_ns)).all()


@pytest.mark.parametrize("venue", ["bybit.spot", "phemex.futures"])  # whose ids prove nothing
def test_a_connection_that_is_lost_while_it_delivers_late_leaves_a_gap_of_all_that_it_held(tmp_path, venue):
    port = closed_port()
    with SimProcess(venues=[venue], symbols=3, rate=300.0, paused=True, folder=str(tmp_path / "venues"),
                    ports={venue: port}) as sim:
        with SlowLine(port) as line, CollectorProcess(
                sim, tmp_path, backfill={"enabled": False},
                exchanges=yaml.safe_load(sim.config_yaml().replace(f"wss://127.0.0.1:{port}", f"wss://127.0.0.1:{line.port}"))[
                    "exchanges"]) as collector:
            collector.wait_until_up()
            sim.resume()
            collector.wait_until(lambda figures: figures["venues"][0]["trades_total"] > 100)
            line.delay_s = 60.0
            time.sleep(4.0)  # the length of the stall
            line.cut()
            collector.wait_until(lambda figures: not figures["venues"][0]["connections_up"])
            sim.pause()
            assert collector.stop() == 0
            truth = sim.truth()
    counted = compare(truth, *stored_of(truth, collector.data), made=True)
    gaps = gaps_in(collector.data)
    held = list(missing(truth, counted))
    assert len(held) > 300 and [one for one in held if not covered(one, gaps)] == []
