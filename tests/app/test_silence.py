"""Silence that no connection tells of is found, mended where that can be done, and what was kept back is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from pumpwatch.records import ConnectionEvent
from pumpwatch.sim.ground_truth import PAST, WITHHELD, Truth
from pumpwatch.sim.process import SimProcess
from pumpwatch.store.ledger import Ledger
from tests.app.collector import CollectorProcess
from tests.app.coverage import covered
from tests.app.reckoning import counted_in_journal

IMPATIENT = """
from dataclasses import replace

from pumpwatch_plugins.exchanges.binance import VENUES

from pumpwatch import hookimpl


@hookimpl
def exchange_venues():
    return [replace(venue, stale_after_s=2.0) for venue in VENUES]
"""


def impatient(folder: Path) -> dict[str, Any]:
    """Return the plugins section of a config in which Binance's facts are those of the plugin, but for the time to wait."""
    plugins = folder / "plugins"
    plugins.mkdir()
    (plugins / "impatient.py").write_text(IMPATIENT, "utf-8")
    return {"folder": str(plugins), "disabled": ["binance"]}


def disconnects(figures) -> float:
    return sum(one["value"] for one in figures["counters"] if one["name"] == "disconnects_total")


def trades(figures) -> int:
    return sum(row["trades_total"] for row in figures["venues"])


def test_a_connection_that_goes_silent_while_it_answers_pings_is_replaced_and_the_silence_is_a_gap(tmp_path):
    with SimProcess(venues=["binance.spot"], symbols=8, rate=600.0, paused=True, folder=str(tmp_path / "venues"),
                    rules={"binance.spot": {"ping_every_s": 0.3}}) as sim, \
            CollectorProcess(sim, tmp_path, plugins=impatient(tmp_path)) as collector:
        collector.wait_until_up()
        sim.resume()
        before = collector.wait_until(lambda figures: trades(figures) > 6000)  # by then it knows how often trades come
        assert disconnects(before) == 0
        sim.fault("silence", seconds=300.0)
        collector.wait_until(lambda figures: disconnects(figures) == 1)
        collector.wait_until_up()
        heard = trades(collector.figures())
        collector.wait_until(lambda figures: trades(figures) > heard + 1000)
        sim.pause()
        assert collector.stop() == 0
        truth = sim.truth()
    assert disconnects(collector.figures()) == 1
    events = all_stored_and_the_rest_named(truth, collector)
    assert any(one.reason.startswith(("no trade for", "subscribed and silent")) for one in events if one.event == "down")
    assert (truth.records["state"] == WITHHELD).sum() > 500


def all_stored_and_the_rest_named(truth: Truth, collector: CollectorProcess) -> list[ConnectionEvent]:
    """Check that what reached the collector is stored, and what was kept back is in a gap by time; return what happened."""
    counted = counted_in_journal(truth, collector.data)
    assert counted.equal, counted
    ledger = Ledger(collector.data)
    by_time = [gap for _, gap in ledger.gaps() if gap.first_id is None]
    events = ledger.connection_events()
    ledger.close()
    came = set(truth.trades()[["venue", "symbol", "trade_id"]].tolist())  # a moved symbol is read on both connections for a while
    kept_back = truth.records[truth.records["state"] > PAST]
    uncovered = [one for one in kept_back if one[["venue", "symbol", "trade_id"]].item() not in came and not covered(
        (*truth.venues[one["venue"]].split("."), truth.symbols[one["venue"]][one["symbol"]], int(one["trade_id"]),
         int(one["timestamp"])), by_time)]
    assert not uncovered, uncovered[:10]
    return events


def silent(figures) -> list[str]:
    return [symbol for row in figures["venues"] for symbol in row["silent"]]


def test_a_symbol_that_one_connection_never_gets_is_read_on_another(tmp_path):
    with SimProcess(venues=["binance.spot"], symbols=["BTC", "ETH", "XRP", "SOL"], rate=750.0, paused=True,
                    folder=str(tmp_path / "venues")) as sim, \
            CollectorProcess(sim, tmp_path, plugins=impatient(tmp_path)) as collector:
        collector.wait_until_up()
        sim.resume()
        collector.wait_until(lambda figures: trades(figures) > 9000)  # on a busy machine too it then knows how often each trades
        [connection] = sim.status()["venues"]["binance.spot"]["connections"]
        sim.fault("mute", symbol="ETHUSDT", connection=connection["connection"], seconds=600.0)
        collector.wait_until(lambda figures: silent(figures) == ["ETHUSDT"])
        collector.wait_until(lambda figures: not silent(figures) and figures["venues"][0]["connections_up"] == 2)
        sim.pause()
        assert collector.stop() == 0
        events = all_stored_and_the_rest_named(sim.truth(), collector)
    assert [one.event for one in events if one.event in ("down", "silent")] == ["silent"]
    log = (tmp_path / "collector.log").read_text("utf-8")
    assert log.count("subscribed and silent, subscribing again venue=binance.spot connection=0 symbol=ETHUSDT") == 1
    assert "trades come again venue=binance.spot symbol=ETHUSDT" in log


def test_futures_trades_on_the_wrong_path_are_acknowledged_and_silent_and_that_is_logged_once(tmp_path):
    with SimProcess(venues=["binance.spot", "binance.futures"], symbols=6, rate=400.0, folder=str(tmp_path / "venues"),
                    rules={"binance.spot": {"ping_every_s": 0.3}, "binance.futures": {"ping_every_s": 0.3}}) as sim:
        exchanges = yaml.safe_load(sim.config_yaml())["exchanges"]
        futures = exchanges["binance"]["futures"]
        futures["ws_url"] = futures["ws_url"].replace("/public/", "/market/")
        with CollectorProcess(sim, tmp_path, plugins=impatient(tmp_path), exchanges=exchanges) as collector:
            figures = collector.wait_until(lambda figures: len(silent(figures)) == 6 and disconnects(figures) >= 2)
            assert collector.stop() == 0
    assert figures["venues"][1]["trades_total"] == 0 and figures["venues"][0]["silent"] == []
    told = [line for line in collector.log().splitlines() if "subscribed and silent, connecting again venue" in line]
    assert len(told) == 1 and "venue=binance.futures connection=0 symbols=6" in told[0] and "/market/ws" in told[0]
    ledger = Ledger(collector.data)
    gaps = [gap for _, gap in ledger.gaps() if gap.market_type == "futures"]
    ledger.close()
    assert gaps and all(gap.symbol == "" for gap in gaps)
