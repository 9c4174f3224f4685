"""Everything that trades on all venues at once, subscribed within every limit that the simulated venues enforce."""

from __future__ import annotations

import json
import time

from pumpwatch.sim.process import SimProcess
from pumpwatch.sim.reconcile import compare, names_of
from tests.app.collector import CollectorProcess
from tests.app.reckoning import settle, stored_of

SYMBOLS = 5712  # about what the real venues list
WITHIN_S = 180.0  # the slowest limit (30 connects a minute on one exchange) takes most of a minute, a busy machine more


def test_all_listed_symbols_are_subscribed_within_all_limits_and_then_nothing_is_missed(tmp_path, questdb_server, forked_cli):
    sinks = {"questdb": {"addr": questdb_server.addr, "table_prefix": "roster_"}}
    with SimProcess(roster=SYMBOLS, rate=3000.0, paused=True, folder=str(tmp_path / "venues")) as sim, \
            CollectorProcess(sim, tmp_path, sinks=sinks) as collector:
        figures = collector.wait_until(lambda figures: _listed(figures) >= SYMBOLS and all(
            row["connections_up"] == row["connections"] and row["subscribed"] == row["instruments"]
            for row in figures["venues"]), WITHIN_S)
        sim.resume()
        collector.wait_until(lambda figures: sum(row["trades_total"] for row in figures["venues"]) > 4000)
        settle(sim, collector)
        collector.wait_until(lambda figures: figures["sinks"][0]["backlog_trades"] == 0)
        assert collector.stop() == 0
        connections = sum(row["connections"] for row in figures["venues"])
        truth = sim.truth()
        while len(_ended(truth)) < connections:  # a busy venue sees the end of its connections later
            time.sleep(0.2)
            truth = sim.truth()
        counted = compare(truth, *stored_of(truth, collector.data))
    assert not any(row["refused"] for row in figures["venues"])
    ended = _ended(truth)
    assert all(event["kind"] == "down" and event["reason"] == "client closed" for event in ended), ended
    assert len(ended) == connections, "each ended once, when the collector stopped"
    assert len(names_of(truth)) == SYMBOLS
    assert counted.equal and counted.sent > 4000, counted
    verified = forked_cli("verify", "--sinks", "--json", "-c", collector.config_file)  # reads all of it back from QuestDB
    assert verified.returncode == 0, verified.stdout + verified.stderr
    rows = [json.loads(line) for line in verified.stdout.splitlines()]
    assert sum(row["found"] for row in rows if row["where"] == "questdb") == counted.sent


def _ended(truth):
    return [event for event in truth.events if event["kind"] in ("refused", "down")]


def _listed(figures):
    return sum(row["instruments"] for row in figures["venues"])
