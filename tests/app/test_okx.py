"""The collector on simulated OKX: answers by symbol, a last trade pushed on subscribing, notices."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from pumpwatch.catalogue import Catalogue
from pumpwatch.model import TradeBatch
from pumpwatch.sim.ground_truth import PAST, SENT, Truth
from pumpwatch.sim.process import SimProcess
from pumpwatch.sim.reconcile import Comparison, compare, names_of
from pumpwatch.store.ledger import Ledger
from pumpwatch.store.reader import JournalReader
from tests.app.collector import CollectorProcess

VENUES = ["okx.spot", "okx.futures"]


def finish(sim: SimProcess, collector: CollectorProcess) -> tuple[Comparison, Truth, TradeBatch]:
    """End trading, stop the collector when it has taken everything, and compare."""
    sim.pause()
    records = sim.truth().records
    sent = len(sim.truth().keys(records[records["state"] == SENT]))
    collector.wait_until(lambda figures: figures["journal"]["durable_trades"] >= sent, 60)
    assert collector.stop() == 0
    catalogue = Catalogue()
    reader = JournalReader(collector.data, catalogue)
    reader.load_instruments()
    truth = sim.truth()
    stored = reader.query(names_of(truth), 0, 2**62)
    return compare(truth, stored, catalogue), truth, stored


def recorded(folder: Path) -> tuple[list[Any], int]:
    """Return the gaps of a run, and how many frames were quarantined."""
    ledger = Ledger(folder)
    try:
        return [gap for _, gap in ledger.gaps()], ledger.quarantine_count()
    finally:
        ledger.close()


def test_every_trade_of_both_markets_is_stored_once_in_base_units(tmp_path):
    with SimProcess(venues=VENUES, symbols=12, rate=2000.0, paused=True, folder=str(tmp_path / "venues")) as sim, \
            CollectorProcess(sim, tmp_path) as collector:
        collector.wait_until_up()
        sim.resume()
        time.sleep(2)
        counted, truth, _ = finish(sim, collector)
    assert counted.equal and counted.sent > 3000, counted
    assert {truth.venues[number] for number in set(truth.records["venue"].tolist())} == set(VENUES)
    assert recorded(collector.data) == ([], 0)


def test_after_a_cut_nothing_is_doubled_and_ids_name_what_was_missed(tmp_path):
    with SimProcess(venues=VENUES, symbols=6, rate=1500.0, paused=True, folder=str(tmp_path / "venues")) as sim, \
            CollectorProcess(sim, tmp_path) as collector:
        collector.wait_until_up()
        sim.resume()
        time.sleep(1.5)
        sim.fault("refuse", seconds=1.0, status=503)
        sim.fault("cut")
        time.sleep(1.5)
        collector.wait_until_up()
        time.sleep(1.5)
        counted, truth, stored = finish(sim, collector)
    assert counted.equal, counted
    assert (truth.records["state"] == PAST).any() and len(stored) == counted.sent
    gaps, quarantined = recorded(collector.data)
    missed = truth.keys(truth.records) - truth.keys(truth.trades())
    assert missed and not quarantined
    for venue, symbol, number in missed:
        assert any(f"{gap.exchange}.{gap.market_type}" == venue and gap.symbol == symbol and gap.first_id <= number <= gap.last_id
                   for gap in gaps if gap.first_id is not None), (venue, symbol, number)


def test_a_notice_of_maintenance_moves_the_feed_before_the_connection_ends(tmp_path):
    with SimProcess(venues=["okx.futures"], symbols=6, rate=1500.0, paused=True, folder=str(tmp_path / "venues")) as sim, \
            CollectorProcess(sim, tmp_path) as collector:
        collector.wait_until_up()
        sim.resume()
        time.sleep(1)
        sim.fault("maintenance", seconds=5.0)
        time.sleep(6)
        collector.wait_until_up()
        counted, truth, _ = finish(sim, collector)
        events = [one["reason"] for one in truth.events if one["kind"] == "down" and one["venue"] == "okx.futures"]
    assert counted.equal, counted
    assert "client closed" in events
    assert not [gap for gap in recorded(collector.data)[0] if gap.state != "filled"]


def test_a_last_trade_of_before_is_history_and_no_trade_of_the_recording(tmp_path):
    with SimProcess(venues=["okx.spot"], symbols=4, rate=400.0, folder=str(tmp_path / "venues")) as sim:
        time.sleep(1)
        sim.pause()
        time.sleep(5.5)
        with CollectorProcess(sim, tmp_path) as collector:
            figures = collector.wait_until_up()
            time.sleep(1)
            figures = collector.figures()
            assert sum(row["trades_total"] for row in figures["venues"]) == 0
            sim.resume()
            time.sleep(1)
            counted, truth, _ = finish(sim, collector)
    assert counted.missing == len(truth.keys(truth.records[truth.records["state"] == PAST]))
    assert counted.doubled == counted.unknown == counted.different == 0 and counted.stored > 200
    assert recorded(collector.data) == ([], 0)
