"""Connections renewed in full flow, on every venue: each trade is stored once, and nothing is missing."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

from pumpwatch.sim.process import SimProcess
from pumpwatch.store.ledger import Ledger
from tests.app.collector import CollectorProcess
from tests.app.coverage import covered, missing
from tests.app.test_collect import counted_in_journal

EXCHANGES = ["binance", "bybit", "gate", "kucoin", "okx", "phemex"]
VENUES = [f"{exchange}.{market}" for exchange in EXCHANGES for market in ("spot", "futures")]
AGE_S = 3.0
SHORT_LIVED = """
import importlib
from dataclasses import replace

from pumpwatch import hookimpl

MODULES = [importlib.import_module(f"pumpwatch_plugins.exchanges.{name}") for name in %r]


@hookimpl
def exchange_venues():
    return [replace(venue, limits=replace(venue.limits, connection_age_s=%r)) for module in MODULES for venue in module.VENUES]
"""


def short_lived(folder: Path) -> dict[str, Any]:
    """Return the plugins section of a config in which every connection is renewed soon."""
    plugins = folder / "plugins"
    plugins.mkdir()
    (plugins / "short_lived.py").write_text(SHORT_LIVED % (EXCHANGES, AGE_S), "utf-8")
    return {"folder": str(plugins), "disabled": EXCHANGES}


@dataclasses.dataclass
class Renewed:
    """What a run came to."""

    counted: Any
    uncovered: list[Any]
    gaps: list[Any]
    events: list[Any]


def run(tmp_path: Path, seconds: float, rules: dict[str, Any]) -> Renewed:
    with SimProcess(venues=VENUES, symbols=5, rate=2400.0, paused=True, folder=str(tmp_path / "venues"), rules=rules) as sim, \
            CollectorProcess(sim, tmp_path, plugins=short_lived(tmp_path)) as collector:
        collector.wait_until_up()
        sim.resume()
        time.sleep(seconds)
        sim.pause()
        time.sleep(1.5)
        assert collector.stop() == 0
        truth = sim.truth()
    counted = counted_in_journal(truth, collector.data)
    ledger = Ledger(collector.data)
    gaps, events = [gap for _, gap in ledger.gaps()], ledger.connection_events()
    ledger.close()
    return Renewed(counted, [one for one in missing(truth, counted) if not covered(one, gaps)], gaps, events)


def test_renewals_on_every_venue_lose_nothing_double_nothing_and_leave_no_gap(tmp_path):
    renewed = run(tmp_path, 10.0, {})
    assert renewed.counted.equal and renewed.counted.sent > 10_000, renewed.counted
    assert not renewed.gaps
    assert {f"{one.exchange}.{one.market_type}" for one in renewed.events if one.event == "renewed"} == set(VENUES)
    assert {one.event for one in renewed.events} == {"up", "renewed"}


def test_venues_that_close_at_the_planned_time_while_the_successor_is_read_too_lose_nothing(tmp_path):
    renewed = run(tmp_path, 9.0, {venue: {"connection_age_s": AGE_S + 1.5} for venue in VENUES})
    assert renewed.counted.equal and not renewed.uncovered, renewed.counted
    assert any("the old connection went first: " in one.reason for one in renewed.events)
