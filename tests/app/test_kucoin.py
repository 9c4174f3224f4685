"""The collector on simulated KuCoin: a token for each connection, lots, replays, and the protocol without tokens."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from pumpwatch.catalogue import Catalogue
from pumpwatch.sim.ground_truth import PAST, SENT, Truth
from pumpwatch.sim.process import SimProcess
from pumpwatch.sim.reconcile import Comparison, compare, names_of
from pumpwatch.store.ledger import Ledger
from pumpwatch.store.reader import JournalReader
from tests.app.collector import CollectorProcess

VENUES = ["kucoin.spot", "kucoin.futures"]
COINS = ["BTC", "ETH", "BONK", "PEPE", "SOMI", "0G"]


def finish(sim: SimProcess, collector: CollectorProcess) -> tuple[Comparison, Truth]:
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
    return compare(truth, reader.query(names_of(truth), 0, 2**62), catalogue), truth


def quarantined(folder: Path) -> int:
    ledger = Ledger(folder)
    try:
        return ledger.quarantine_count()
    finally:
        ledger.close()


def tokenless(sim: SimProcess) -> dict[str, Any]:
    """Return the config's part that chooses the other protocol."""
    urls = {market: sim.addresses["venues"][f"kucoin.{market}"] for market in ("spot", "futures")}
    return {"kucoin": {market: {**one, "ws_url": one["ws_url"] + "tokenless", "variant": "tokenless"} for market,
                       one in urls.items()}}


@pytest.mark.parametrize("protocol", ["classic", "tokenless"])
def test_through_a_cut_every_trade_sent_is_stored_once_in_base_units(tmp_path, protocol):
    with SimProcess(venues=VENUES, symbols=COINS, rate=1500.0, paused=True, folder=str(tmp_path / "venues")) as sim:
        sections = {"exchanges": tokenless(sim)} if protocol == "tokenless" else {}
        with CollectorProcess(sim, tmp_path, **sections) as collector:
            collector.wait_until_up()
            sim.resume()
            time.sleep(1.5)
            sim.fault("cut")
            time.sleep(1.0)
            collector.wait_until_up()
            time.sleep(1.5)
            counted, truth = finish(sim, collector)
    assert counted.equal and counted.sent > 2000, counted
    again = (truth.records["state"] == PAST).sum()
    assert again if protocol == "classic" else not again  # replayed on subscribing again, and dropped
    assert quarantined(collector.data) == 0
    ups = [one["venue"] for one in truth.events if one["kind"] == "up"]
    assert ups.count("kucoin.spot") == ups.count("kucoin.futures") == 2  # no connection with an old token in between


@pytest.mark.parametrize("fault", ["double", "reorder"])
def test_what_comes_twice_is_stored_once_and_what_comes_late_is_kept(tmp_path, fault):
    with SimProcess(venues=VENUES, symbols=COINS, rate=1500.0, paused=True, folder=str(tmp_path / "venues")) as sim, \
            CollectorProcess(sim, tmp_path) as collector:
        collector.wait_until_up()
        sim.resume()
        time.sleep(1)
        sim.fault(fault, count=300)
        time.sleep(1.5)
        counted, _ = finish(sim, collector)
    assert counted.equal, counted
