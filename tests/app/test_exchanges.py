"""The collector on the simulated exchanges: what each one does on subscribing, after a cut and before a restart.

Most of it is one run of all venues, which the tests look at exchange by exchange.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pumpwatch.catalogue import Catalogue
from pumpwatch.model import Gap, TradeBatch
from pumpwatch.sim.ground_truth import PAST, Records, Truth
from pumpwatch.sim.process import SimProcess
from pumpwatch.sim.reconcile import TradeComparison, compare, names_of
from pumpwatch.store.ledger import Ledger
from pumpwatch.store.reader import JournalReader
from tests.app.collector import CollectorProcess

EXCHANGES = ("bybit", "gate", "kucoin", "okx", "phemex")
VENUES = [f"{exchange}.{market}" for exchange in EXCHANGES for market in ("spot", "futures")]
RESTARTED = ("gate.spot", "gate.futures", "okx.futures")  # they announce it
SYMBOLS = 12


class Recording:
    """The data of a collector, and the trades its venues sent."""

    def __init__(self, truth: Truth, data: Path) -> None:
        self.truth, self.catalogue = truth, Catalogue()
        self._reader = JournalReader(data, self.catalogue)
        self._reader.load_instruments()
        with ledger_of(data) as ledger:
            self.gaps = [gap for _, gap in ledger.gaps()]
            self.quarantined = ledger.quarantine_count()
            self.connection_events = ledger.connection_events(0)

    def sent(self, exchange: str) -> Truth:
        """Return what the venues of one exchange sent."""
        numbers = [number for number, venue in enumerate(self.truth.venues) if venue.startswith(f"{exchange}.")]
        return replace(self.truth, records=self.truth.records[np.isin(self.truth.records["venue"], numbers)])

    def past(self, exchange: str) -> Records:
        """Return what its venues sent as history on subscribing."""
        records = self.sent(exchange).records
        return records[records["state"] == PAST]

    def stored(self, exchange: str) -> TradeBatch:
        names = [name for name in names_of(self.truth) if name[0] == exchange]
        return self._reader.query(names, 0, 2**62)

    def compared(self, exchange: str) -> TradeComparison:
        return compare(self.sent(exchange), self.stored(exchange), self.catalogue)

    def gaps_of(self, exchange: str) -> list[Gap]:
        return [gap for gap in self.gaps if gap.exchange == exchange]

    def ended(self, venue: str) -> list[str]:
        """Return why the connections of a venue ended, in their order."""
        return [event["reason"] for event in self.truth.events if event["kind"] == "down" and event["venue"] == venue]


@contextmanager
def ledger_of(data: Path) -> Iterator[Ledger]:
    ledger = Ledger(data)
    try:
        yield ledger
    finally:
        ledger.close()


def gaps_so_far(collector: CollectorProcess) -> list[Gap]:
    with ledger_of(collector.data) as ledger:
        return [gap for _, gap in ledger.gaps()]


def finish(sim: SimProcess, collector: CollectorProcess) -> Recording:
    """End trading, stop the collector once nothing more arrives, and return what was recorded."""
    sim.pause()
    collector.wait_until_idle()
    assert collector.stop() == 0
    return Recording(sim.truth(), collector.data)


@dataclass(frozen=True)
class Run:
    """One run of all venues, and what was known at points of it."""

    recording: Recording
    subscribed: dict[str, int]
    gaps_when_steady: list[Gap]
    gaps_before_the_cut: list[Gap]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Trade, repeat and reorder frames, announce a restart, cut every connection and reject those of OKX for a second."""
    folder = tmp_path_factory.mktemp("exchanges")
    with SimProcess(venues=VENUES, symbols=SYMBOLS, rate=2500.0, paused=True, folder=str(folder / "venues")) as sim, \
            CollectorProcess(sim, folder) as collector:
        figures = collector.wait_until_up()
        subscribed = {f"{row['exchange']}.{row['market_type']}": row["subscribed"] for row in figures["venues"]}
        sim.resume()
        time.sleep(2.0)
        gaps_when_steady = gaps_so_far(collector)
        sim.fault("double", count=60)
        for market in ("spot", "futures"):
            sim.fault("reorder", venue=f"kucoin.{market}", count=300)
        for venue in RESTARTED:
            sim.fault("maintenance", venue=venue, seconds=8.0)
        time.sleep(9.0)
        collector.wait_until_up()
        gaps_before_the_cut = gaps_so_far(collector)
        sim.pause()
        collector.wait_until_idle()  # what is sent and not read yet would be lost with its connection
        for market in ("spot", "futures"):
            sim.fault("refuse", venue=f"okx.{market}", seconds=1.0, status=503)
        sim.fault("cut")
        sim.resume()
        time.sleep(1.5)
        collector.wait_until_up()
        time.sleep(1.0)
        return Run(finish(sim, collector), subscribed, gaps_when_steady, gaps_before_the_cut)


def test_every_symbol_is_subscribed_and_steady_trading_leaves_no_gap(run: Run) -> None:
    assert {venue: count for venue, count in run.subscribed.items() if count} == dict.fromkeys(VENUES, SYMBOLS)
    assert run.gaps_when_steady == []
    assert run.recording.quarantined == 0


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_through_repeats_a_restart_and_a_cut_every_trade_is_stored_once_in_base_units(run: Run, exchange: str) -> None:
    counted = run.recording.compared(exchange)
    assert counted.equal and counted.sent > 3000, counted
    sent = run.recording.sent(exchange)
    assert all(len(sent.trades(f"{exchange}.{market}")) > 1000 for market in ("spot", "futures"))


@pytest.mark.parametrize("exchange", ["bybit", "gate"])
def test_a_cut_is_a_gap_of_its_venue_and_contiguous_ids_name_what_was_missed(run: Run, exchange: str) -> None:
    gaps = run.recording.gaps_of(exchange)
    assert {gap.market_type for gap in gaps if not gap.symbol} == {"spot", "futures"}
    assert any(gap.first_id is not None for gap in gaps) == (exchange == "gate")


def test_an_announced_restart_of_gate_is_passed_without_a_loss(run: Run) -> None:
    events = [(event.event, event.reason) for event in run.recording.connection_events if event.exchange == "gate"]
    assert any(event == "renewed" and "upgrade" in reason for event, reason in events), events
    assert not [gap for gap in run.gaps_before_the_cut if gap.exchange == "gate"]


def test_a_notice_of_okx_moves_the_feed_before_the_connection_ends(run: Run) -> None:
    assert run.recording.ended("okx.futures")[0] == "client closed"
    assert not [gap for gap in run.gaps_before_the_cut if gap.exchange == "okx" and gap.state != "filled"]


def test_after_a_cut_the_ids_of_okx_name_every_trade_that_was_missed(run: Run) -> None:
    sent, gaps = run.recording.sent("okx"), run.recording.gaps_of("okx")
    assert len(run.recording.past("okx"))  # the last trade, which comes again on subscribing
    missed = sent.keys(sent.records) - sent.keys(sent.trades())
    assert missed
    for venue, symbol, number in missed:
        assert any(f"{gap.exchange}.{gap.market_type}" == venue and gap.symbol == symbol and gap.first_id <= number <= gap.last_id
                   for gap in gaps if gap.first_id is not None), (venue, symbol, number)


def test_kucoin_replays_on_subscribing_again_and_no_connection_comes_with_an_old_token(run: Run) -> None:
    assert len(run.recording.past("kucoin"))
    opened = [event["venue"] for event in run.recording.truth.events if event["kind"] == "up"]
    assert opened.count("kucoin.spot") == opened.count("kucoin.futures") == 2


def test_phemex_tells_equal_trades_apart_by_their_number_and_its_history_closes_the_gap_of_a_cut(run: Run) -> None:
    assert any("#" in text for text in run.recording.stored("phemex").id_texts())
    assert len(run.recording.past("phemex")) > 500
    assert not any(gap.symbol for gap in run.recording.gaps_of("phemex"))


@pytest.fixture(scope="module")
def tokenless_run(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """Cut KuCoin's tokenless connections, and those of Phemex for longer than its history of one busy symbol reaches."""
    folder = tmp_path_factory.mktemp("tokenless")
    with SimProcess(venues=["kucoin.spot", "kucoin.futures", "phemex.futures"], symbols=["BTC"], rate=4500.0, paused=True,
                    folder=str(folder / "venues")) as sim:
        urls = {market: sim.addresses["venues"][f"kucoin.{market}"] for market in ("spot", "futures")}
        kucoin = {market: {**at, "ws_url": at["ws_url"] + "tokenless", "variant": "tokenless"} for market, at in urls.items()}
        with CollectorProcess(sim, folder, exchanges={"kucoin": kucoin}, backfill={"enabled": False}) as collector:
            collector.wait_until_up()
            sim.resume()
            time.sleep(1.0)
            sim.fault("refuse", venue="phemex.futures", seconds=2.5, status=503)
            sim.fault("cut")
            time.sleep(3.0)
            collector.wait_until_up()
            time.sleep(1.0)
            return finish(sim, collector)


def test_by_the_tokenless_protocol_of_kucoin_every_trade_is_stored_once_and_nothing_is_replayed(tokenless_run: Recording) -> None:
    counted = tokenless_run.compared("kucoin")
    assert counted.equal and counted.sent > 2000, counted
    assert not len(tokenless_run.past("kucoin")) and tokenless_run.quarantined == 0


def test_what_the_history_of_phemex_does_not_reach_is_a_gap_of_its_symbol(tokenless_run: Recording) -> None:
    counted = tokenless_run.compared("phemex")
    assert counted.equal, counted
    (gap,) = [gap for gap in tokenless_run.gaps_of("phemex") if gap.symbol]
    records = tokenless_run.sent("phemex").records
    never_sent = records[records["state"] > PAST]["timestamp"]
    assert gap.symbol == "BTCUSDT" and len(never_sent)
    assert ((never_sent >= gap.from_ns) & (never_sent < gap.to_ns)).sum() > 100


def test_a_last_trade_of_okx_from_before_the_start_is_history_and_not_recorded(tmp_path: Path) -> None:
    with SimProcess(venues=["okx.spot"], symbols=4, rate=400.0, folder=str(tmp_path / "venues")) as sim:
        time.sleep(1)
        sim.pause()
        time.sleep(5.5)
        with CollectorProcess(sim, tmp_path) as collector:
            collector.wait_until_up()
            time.sleep(1)
            figures: dict[str, Any] = collector.figures()
            assert sum(row["trades_total"] for row in figures["venues"]) == 0
            sim.resume()
            time.sleep(1)
            recording = finish(sim, collector)
    counted = recording.compared("okx")
    assert counted.missing == len(recording.truth.keys(recording.past("okx")))
    assert counted.doubled == counted.unknown == counted.different == 0 and counted.stored > 200
    assert (recording.gaps, recording.quarantined) == ([], 0)
