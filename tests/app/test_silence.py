"""A venue that answers pings and sends no trades any more is left, and what it kept back is named."""

from __future__ import annotations

from pumpwatch.sim.process import SimProcess
from pumpwatch.sim.truth import PAST, WITHHELD
from pumpwatch.store.ledger import Ledger
from tests.app.collector import CollectorProcess
from tests.app.coverage import covered
from tests.app.test_collect import counted_in_journal

IMPATIENT = """
from dataclasses import replace

from pumpwatch_plugins.exchanges.binance import VENUES

from pumpwatch import hookimpl


@hookimpl
def exchange_venues():
    return [replace(VENUES[0], stale_after_s=1.5)]
"""


def disconnects(figures) -> float:
    return sum(one["value"] for one in figures["counters"] if one["name"] == "disconnects_total")


def trades(figures) -> int:
    return sum(row["trades_total"] for row in figures["venues"])


def test_a_connection_that_goes_silent_while_it_answers_pings_is_replaced_and_the_silence_is_a_gap(tmp_path):
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    (plugins / "impatient.py").write_text(IMPATIENT, "utf-8")
    with SimProcess(venues=["binance.spot"], symbols=8, rate=1000.0, paused=True, folder=str(tmp_path / "venues"),
                    rules={"binance.spot": {"ping_every_s": 0.3}}) as sim, \
            CollectorProcess(sim, tmp_path, plugins={"folder": str(plugins), "disabled": ["binance"]}) as collector:
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
    counted = counted_in_journal(truth, collector.data)
    assert counted.equal, counted  # all that reached the collector
    ledger = Ledger(collector.data)
    by_time = [gap for _, gap in ledger.gaps() if gap.first_id is None]
    reasons = [one.reason for one in ledger.connection_events()]
    ledger.close()
    assert any(reason.startswith("no trade for") for reason in reasons)
    kept_back = truth.records[truth.records["state"] > PAST]
    assert (kept_back["state"] == WITHHELD).sum() > 500
    uncovered = [one for one in kept_back if not covered(
        ("binance", "spot", truth.symbols[0][one["symbol"]], int(one["trade_id"]), int(one["timestamp"])), by_time)]
    assert not uncovered, uncovered[:10]
