"""Symbols read on two connections, on every venue: either may be lost without a gap, and each trade is stored once."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from pumpwatch.model import Gap
from pumpwatch.sim.process import SimProcess
from pumpwatch.sim.reconcile import TradeComparison
from pumpwatch.store.ledger import Ledger
from tests.app.collector import CollectorProcess
from tests.app.coverage import covered, missing
from tests.app.reckoning import counted_in_journal

EXCHANGES = ["binance", "bybit", "gate", "kucoin", "okx", "phemex"]
VENUES = [f"{exchange}.{market}" for exchange in EXCHANGES for market in ("spot", "futures")]
ROUNDS = int(os.environ.get("TEST_ROUNDS", "1"))  # in each both connections of a pair are cut


def redundant(sim: SimProcess, redundancy: object) -> dict[str, Any]:
    """Return the exchanges section of a config for these venues."""
    exchanges: dict[str, Any] = {exchange: {} for exchange in EXCHANGES}
    for venue, urls in sim.addresses["venues"].items():
        exchange, market = venue.split(".")
        exchanges[exchange][market] = {**urls, "redundancy": redundancy}
    return exchanges


def gaps_of(data: Path) -> list[Gap]:
    ledger = Ledger(data)
    try:
        return [gap for _, gap in ledger.gaps()]
    finally:
        ledger.close()


def connections_of(sim: SimProcess) -> dict[str, list[int]]:
    """Return the numbers of the open connections of each venue, the oldest first."""
    opened: dict[str, list[int]] = {}
    for event in sim.truth().events:
        if event["kind"] == "up":
            opened.setdefault(event["venue"], []).append(event["connection"])
        elif event["kind"] == "down":
            opened[event["venue"]].remove(event["connection"])
    return opened


def cut_oldest(sim: SimProcess, collector: CollectorProcess) -> None:
    """Cut the oldest connection of each venue, and wait until all are up again."""
    for venue, numbers in connections_of(sim).items():
        sim.fault("cut", venue=venue, connection=min(numbers))
    time.sleep(2.0)
    collector.wait_until_up()
    time.sleep(1.5)


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, TradeComparison, list[Gap], list[Gap], dict[str, Any]]:
    """Cut the connections of each pair in turn, then both together; return what was sent, stored and recorded."""
    folder = tmp_path_factory.mktemp("doubled")
    with SimProcess(venues=VENUES, symbols=5, rate=480.0, paused=True, folder=str(folder / "venues")) as sim, \
            CollectorProcess(sim, folder, exchanges=redundant(sim, 2)) as collector:
        collector.wait_until(lambda figures: len(figures["venues"]) == len(VENUES) and all(
            row["connections_up"] == row["connections"] == 2 for row in figures["venues"]))
        sim.resume()
        time.sleep(2.0)
        for _ in range(2 * ROUNDS):
            cut_oldest(sim, collector)
        in_turn = gaps_of(collector.data)
        figures = collector.figures()
        for venue in VENUES:
            sim.fault("cut", venue=venue)
        time.sleep(2.0)
        collector.wait_until_up()
        time.sleep(1.0)
        sim.pause()
        collector.wait_until_idle()
        assert collector.stop() == 0
        truth = sim.truth()
    return truth, counted_in_journal(truth, folder / "data"), in_turn, gaps_of(folder / "data"), figures


def test_the_connections_of_a_pair_may_be_cut_in_turn(ended):
    truth, counted, in_turn, _, _ = ended
    cuts = [event for event in truth.events if event["kind"] == "fault"]
    assert len(cuts) == (2 * ROUNDS + 1) * len(VENUES)
    assert counted.doubled == counted.unknown == counted.different == 0 and counted.sent > 3_000, counted
    assert not [gap for gap in in_turn if gap.state != "filled"]


def test_both_cut_together_are_one_gap_of_each_venue_that_covers_whatever_was_missed(ended):
    truth, counted, _, gaps, _ = ended
    cut = [gap for gap in gaps if gap.symbols]
    assert sorted(f"{gap.exchange}.{gap.market_type}" for gap in cut) == sorted(VENUES)
    assert not [trade for trade in missing(truth, counted) if not covered(trade, gaps)]


def test_status_says_who_of_a_pair_was_first(ended):
    *_, figures = ended
    for row in figures["venues"]:
        (pair,) = row["pairs"]
        assert pair["symbols"] == row["instruments"] and sum(pair["first"]) > 0
        assert all(lead >= 0 for lead in pair["lead_ms"])
        assert row["doubled_total"] > 0
