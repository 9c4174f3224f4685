"""The collector as a user runs it: against simulated venues, with and without QuestDB, through what goes wrong."""

from __future__ import annotations

import json
import os
import time

from pumpwatch_plugins.sinks.questdb import QuestDBOptions, QuestDBSink

from pumpwatch.catalogue import Catalogue
from pumpwatch.hookspecs import Sink
from pumpwatch.model import Gap
from pumpwatch.sim.process import SimProcess
from pumpwatch.sim.reconcile import compare, names_of
from pumpwatch.store.ledger import Ledger
from pumpwatch.store.reader import JournalReader
from tests.app.collector import HANGS_S, CollectorProcess
from tests.app.coverage import covered, missing
from tests.app.reckoning import counted_in_journal, settle
from tests.questdb_server import QuestDBServer

OUTAGE_S = float(os.environ.get("OUTAGE_S", "1"))
VENUES = ["binance.spot", "binance.futures"]


def sink_state(figures) -> str:
    return str(figures["sinks"][0]["state"])


def test_every_trade_of_both_venues_is_in_the_journal_and_a_stop_is_quick_and_clean(tmp_path):
    with SimProcess(venues=VENUES, symbols=15, rate=2000.0, paused=True, folder=str(tmp_path / "venues")) as sim, \
            CollectorProcess(sim, tmp_path) as collector:
        collector.wait_until_up()
        sim.resume()
        collector.wait_until(lambda figures: sum(row["trades_total"] for row in figures["venues"]) > 6000)
        settle(sim, collector)
        assert collector.stop() == 0
        counted = counted_in_journal(sim.truth(), collector.data)
    assert counted.equal and counted.sent > 6000, counted


def test_stopped_in_full_flow_what_was_received_is_durable_and_the_rest_is_a_gap_of_the_next_run(tmp_path):
    with SimProcess(venues=VENUES, symbols=8, rate=2000.0, paused=True, folder=str(tmp_path / "venues")) as sim:
        collector = CollectorProcess(sim, tmp_path)
        collector.start()
        collector.wait_until_up()
        sim.resume()
        time.sleep(1.5)
        assert collector.stop() == 0
        time.sleep(0.5)
        collector.start()
        collector.wait_until_up()
        time.sleep(1.0)
        settle_then_stop = collector.stop()
        assert settle_then_stop == 0
    ledger = Ledger(collector.data)
    gaps = [gap for _, gap in ledger.gaps()]
    ledger.close()
    reasons = " ".join(gap.reason for gap in gaps)
    assert "not running" in reasons and "killed" not in reasons
    assert any(gap.first_id is not None for gap in gaps)  # ids tell what was missed


HARMLESS = ({"kind": "double", "count": 500}, {"kind": "reorder", "count": 500}, {"kind": "malformed", "count": 9},
            {"kind": "fragment", "count": 200})
COSTLY = ({"kind": "drop", "count": 5}, {"kind": "cut"}, {"kind": "close"}, {"kind": "maintenance", "seconds": 1.0})


def test_through_one_fault_after_another_nothing_is_doubled_and_what_is_missing_is_named(tmp_path):
    with SimProcess(venues=["binance.spot"], symbols=8, rate=2000.0, paused=True, folder=str(tmp_path / "venues"),
                    flag_shares={"binance.spot": {}}) as sim, CollectorProcess(sim, tmp_path) as collector:
        sent = 0
        for fault in HARMLESS + COSTLY:
            collector.wait_until_up()
            sim.resume()
            time.sleep(1.0)
            sim.fault(**fault)
            time.sleep(1.5)
            collector.wait_until_up()
            time.sleep(0.5)
            sim.pause()
            collector.wait_until_idle()
            truth = sim.truth()
            counted = counted_in_journal(truth, collector.data)
            assert counted.doubled == counted.unknown == counted.different == 0, (fault, counted)
            assert counted.equal or fault in COSTLY, (fault, counted)
            assert counted.sent > sent + 1000
            sent = counted.sent
            gaps, quarantined = recorded(collector)
            uncovered = [trade for trade in missing(truth, counted) if not covered(trade, gaps)]
            assert not uncovered, (fault, uncovered[:10], gaps)
            if fault["kind"] == "malformed":
                assert quarantined == 9
            if fault["kind"] == "drop":  # the first one, so the ids cannot jump for another reason
                assert any(gap.first_id is not None for gap in gaps)
        assert collector.stop() == 0
        again = counted_in_journal(truth, collector.data)
        assert again.stored - again.fetched == counted.stored - counted.fetched  # gaps may have been filled meanwhile


def recorded(collector: CollectorProcess) -> tuple[list[Gap], int]:
    """Return the gaps of a collector that runs, and the number of its quarantined frames."""
    ledger = Ledger(collector.data, read_only=True)
    gaps, quarantined = [gap for _, gap in ledger.gaps()], ledger.quarantine_count()
    ledger.close()
    return gaps, quarantined


def test_questdb_killed_hung_and_suspended_in_mid_stream_gets_every_trade(tmp_path, questdb_server: QuestDBServer):
    options = {"addr": questdb_server.addr, "request_timeout_ms": 4000, "table_prefix": "outages_"}
    with SimProcess(venues=VENUES, symbols=10, rate=2000.0, paused=True, folder=str(tmp_path / "venues")) as sim, \
            CollectorProcess(sim, tmp_path, sinks={"questdb": options}) as collector:
        collector.wait_until_up()
        sim.resume()
        time.sleep(1.5)
        questdb_server.kill()
        try:
            collector.wait_until(lambda figures: sink_state(figures) == "down")
            time.sleep(OUTAGE_S)
        finally:
            questdb_server.start()
        collector.wait_until(lambda figures: sink_state(figures) == "up")
        questdb_server.hang()
        try:
            collector.wait_until(lambda figures: sink_state(figures) == "down")
            time.sleep(OUTAGE_S)
        finally:
            questdb_server.unhang()
        collector.wait_until(lambda figures: sink_state(figures) == "up")
        questdb_server.suspend("outages_trades")
        collector.wait_until(lambda figures: "suspended" in sink_state(figures))
        questdb_server.sql("ALTER TABLE outages_trades RESUME WAL")
        settle(sim, collector)
        figures = collector.wait_until(lambda figures: figures["sinks"][0]["backlog_trades"] == 0)
        assert figures["sinks"][0]["state"] == "up"
        assert collector.stop() == 0
        truth = sim.truth()
    expected = len(truth.trades())
    assert questdb_server.await_count(expected, "outages_trades") == expected
    catalogue = Catalogue()
    reader = JournalReader(collector.data, catalogue)
    reader.load_instruments()
    sink: Sink = QuestDBSink(QuestDBOptions(addr=questdb_server.addr, table_prefix="outages_"))
    counted = compare(truth, sink.read(names_of(truth), 0, 2**62, catalogue), catalogue)
    assert counted.equal, counted
    downs = [line for line in collector.log().splitlines() if "state=down" in line]
    assert 1 <= len(downs) <= 3
    assert recorded(collector)[1] == 0  # nothing was taken for a row that QuestDB will never take


def test_a_listing_is_found_and_its_window_archived(tmp_path):
    with SimProcess(symbols=10, rate=1000.0, paused=True, folder=str(tmp_path / "venues")) as sim, \
            CollectorProcess(sim, tmp_path, listing={
                "before_s": 2.0, "after_s": 2.0, "sources": {"upbit": {"url": sim.addresses["boards"]["upbit"]["url"],
                                                       "interval_s": 2.0}}}) as collector:
        collector.wait_until_up()
        sim.resume()
        time.sleep(3)
        sim.publish("SOMI")
        archives = tmp_path / "archive"
        deadline = time.monotonic() + HANGS_S
        while not list(archives.glob("SOMI_*/refined/pump_analysis.json")):
            assert time.monotonic() < deadline, collector.log()
            time.sleep(0.1)
        assert collector.stop() == 0
    (analysis,) = archives.glob("SOMI_*/refined/pump_analysis.json")
    for market_type in ("spot", "futures"):
        raw = json.loads((analysis.parents[1] / "raw" / "binance" / f"{market_type}.json").read_text("utf-8"))
        assert raw["trades"]
    ledger = Ledger(collector.data)
    (record,) = ledger.listings()
    ledger.close()
    assert record.listing.symbol == "SOMI" and record.trades and record.archive.endswith(analysis.parents[1].name)
