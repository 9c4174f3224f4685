"""The collector on simulated Phemex: trades without ids, and past ones on every subscription."""

from __future__ import annotations

import time
from pathlib import Path

from pumpwatch.catalogue import Catalogue
from pumpwatch.sim.process import SimProcess
from pumpwatch.sim.reconcile import compare, names_of
from pumpwatch.store.ledger import Ledger
from pumpwatch.store.reader import JournalReader
from tests.app.collector import CollectorProcess

VENUES = ["phemex.spot", "phemex.futures"]


def stored(folder: Path) -> tuple[JournalReader, Catalogue]:
    catalogue = Catalogue()
    reader = JournalReader(folder, catalogue)
    reader.load_instruments()
    return reader, catalogue


def settle(sim: SimProcess, collector: CollectorProcess) -> None:
    """End trading and wait until nothing more arrives."""
    sim.pause()
    before = -1
    while (taken := sum(row["trades_total"] for row in collector.figures()["venues"])) != before:
        before = taken
        time.sleep(1.2)


def test_through_a_cut_every_trade_is_stored_once_equal_ones_told_apart_by_their_number(tmp_path):
    with SimProcess(venues=VENUES, symbols=8, rate=800.0, paused=True, folder=str(tmp_path / "venues")) as sim, \
            CollectorProcess(sim, tmp_path) as collector:
        collector.wait_until_up()
        sim.resume()
        time.sleep(2)
        sim.fault("cut")
        time.sleep(1)
        collector.wait_until_up()
        time.sleep(1.5)
        settle(sim, collector)
        assert collector.stop() == 0
        truth = sim.truth()
    reader, catalogue = stored(collector.data)
    batch = reader.query(names_of(truth), 0, 2**62)
    counted = compare(truth, batch, catalogue)
    assert counted.equal and counted.sent > 2000, counted
    assert (truth.records["state"] == 2).sum() > 500  # sent as history on subscribing again
    assert any("#" in text for text in batch.id_texts())
    ledger = Ledger(collector.data)
    gaps = [gap for _, gap in ledger.gaps()]
    quarantined = ledger.quarantine_count()
    ledger.close()
    assert not any(gap.symbol for gap in gaps) and quarantined == 0  # history reached back to the last trade of each


def test_what_history_does_not_reach_is_a_gap_of_its_symbol(tmp_path):
    with SimProcess(venues=["phemex.futures"], symbols=["BTC"], rate=1500.0, paused=True,
                    folder=str(tmp_path / "venues")) as sim, CollectorProcess(sim, tmp_path) as collector:
        collector.wait_until_up()
        sim.resume()
        time.sleep(1)
        sim.fault("refuse", seconds=2.5, status=503)
        sim.fault("cut")
        time.sleep(3)
        collector.wait_until_up()
        time.sleep(1)
        settle(sim, collector)
        assert collector.stop() == 0
        truth = sim.truth()
    reader, catalogue = stored(collector.data)
    batch = reader.query(names_of(truth), 0, 2**62)
    counted = compare(truth, batch, catalogue)
    assert counted.equal, counted
    ledger = Ledger(collector.data)
    (gap,) = [gap for _, gap in ledger.gaps() if gap.symbol]
    ledger.close()
    never_sent = truth.records[truth.records["state"] > 2]["timestamp"]
    assert gap.symbol == "BTCUSDT" and len(never_sent)
    assert ((never_sent >= gap.from_ns) & (never_sent < gap.to_ns)).sum() > 100


def test_frames_that_the_venue_sends_twice_are_stored_once(tmp_path):
    with SimProcess(venues=VENUES, symbols=8, rate=800.0, paused=True, folder=str(tmp_path / "venues")) as sim, \
            CollectorProcess(sim, tmp_path) as collector:
        collector.wait_until_up()
        sim.resume()
        time.sleep(0.5)
        sim.fault("double", count=60)
        time.sleep(1.5)
        settle(sim, collector)
        figures = collector.figures()
        assert collector.stop() == 0
        truth = sim.truth()
    reader, catalogue = stored(collector.data)
    counted = compare(truth, reader.query(names_of(truth), 0, 2**62), catalogue)
    assert counted.equal and counted.sent > 500, counted
    assert sum(row["trades_total"] for row in figures["venues"]) >= counted.sent
