"""The collector on simulated Bybit and Gate: UUIDs, numbers that skip, contracts, rows refused whole."""

from __future__ import annotations

import time

from pumpwatch.catalogue import Catalogue
from pumpwatch.sim.ground_truth import Truth
from pumpwatch.sim.process import SimProcess
from pumpwatch.sim.reconcile import Comparison, compare, names_of
from pumpwatch.store.ledger import Ledger
from pumpwatch.store.reader import JournalReader
from tests.app.collector import CollectorProcess

VENUES = ["bybit.spot", "bybit.futures", "gate.spot", "gate.futures"]


def settle(sim: SimProcess, collector: CollectorProcess) -> None:
    """End trading and wait until everything sent was taken."""
    sent = sim.pause()["records"]["sent"]
    collector.wait_until(lambda figures: sum(row["trades_total"] for row in figures["venues"]) >= sent
                         and figures["journal"]["backlog_trades"] == 0, 60)


def counted_in_journal(truth: Truth, collector: CollectorProcess) -> Comparison:
    catalogue = Catalogue()
    reader = JournalReader(collector.data, catalogue)
    reader.load_instruments()
    return compare(truth, reader.query(names_of(truth), 0, 2**62), catalogue)


def test_every_trade_of_the_four_venues_is_in_the_journal(tmp_path):
    with SimProcess(venues=VENUES, symbols=24, rate=3000.0, paused=True, folder=str(tmp_path / "venues")) as sim, \
            CollectorProcess(sim, tmp_path) as collector:
        figures = collector.wait_until_up()
        assert {f"{row['exchange']}.{row['market_type']}": row["subscribed"] for row in figures["venues"]
                if row["subscribed"]} == dict.fromkeys(VENUES, 24)
        sim.resume()
        time.sleep(3)
        settle(sim, collector)
        assert collector.stop() == 0
        truth = sim.truth()
        counted = counted_in_journal(truth, collector)
    assert counted.equal and counted.sent > 6000, counted
    assert all(len(truth.trades(venue)) > 1000 for venue in VENUES)
    ledger = Ledger(collector.data)
    gaps, quarantined = ledger.gaps(), ledger.quarantine_count()
    ledger.close()
    assert gaps == [] and quarantined == 0


def test_after_a_cut_what_was_sent_is_stored_once_and_contiguous_ids_tell_what_was_missed(tmp_path):
    with SimProcess(venues=VENUES, symbols=8, rate=2000.0, paused=True, folder=str(tmp_path / "venues")) as sim, \
            CollectorProcess(sim, tmp_path) as collector:
        collector.wait_until_up()
        sim.resume()
        time.sleep(1.0)
        sim.fault("cut")
        time.sleep(1.5)
        collector.wait_until_up()
        time.sleep(1.0)
        sim.pause()
        time.sleep(1.5)
        assert collector.stop() == 0
        counted = counted_in_journal(sim.truth(), collector)
    assert counted.doubled == counted.unknown == counted.different == 0, counted
    ledger = Ledger(collector.data)
    gaps = [gap for _, gap in ledger.gaps()]
    ledger.close()
    assert {f"{gap.exchange}.{gap.market_type}" for gap in gaps if not gap.symbol} == set(VENUES)
    assert {gap.exchange for gap in gaps if gap.first_id is not None} == {"gate"}


def test_an_announced_restart_is_stepped_over_without_a_loss(tmp_path):
    with SimProcess(venues=["gate.spot", "gate.futures"], symbols=8, rate=1500.0, paused=True,
                    folder=str(tmp_path / "venues")) as sim, CollectorProcess(sim, tmp_path) as collector:
        collector.wait_until_up()
        sim.resume()
        time.sleep(1.0)
        sim.fault("maintenance", seconds=3.0)
        time.sleep(4.5)
        collector.wait_until_up()
        sim.pause()
        time.sleep(1.5)
        assert collector.stop() == 0
        counted = counted_in_journal(sim.truth(), collector)
    assert counted.equal, counted
    ledger = Ledger(collector.data)
    events = [(event.event, event.reason) for event in ledger.connection_events(0)]
    gaps = ledger.gaps()
    ledger.close()
    assert any(event == "renewed" and "upgrade" in reason for event, reason in events), events
    assert gaps == []
