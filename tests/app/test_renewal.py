"""Connections renewed in full flow, on every venue: each trade is stored once, and nothing is missing."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pumpwatch.model import Gap
from pumpwatch.records import ConnectionEvent
from pumpwatch.sim.ground_truth import NO_SUBSCRIBER, Truth
from pumpwatch.sim.process import SimProcess
from pumpwatch.store.ledger import Ledger
from tests.app.collector import HANGS_S, CollectorProcess
from tests.app.coverage import covered, missing
from tests.app.reckoning import counted_in_journal

EXCHANGES = ["binance", "bybit", "gate", "kucoin", "okx", "phemex"]
VENUES = [f"{exchange}.{market}" for exchange in EXCHANGES for market in ("spot", "futures")]
AGE_S = 3.0
FEWEST, MOST = 2, 3  # connections of a venue: 6 to 8 symbols, three on each
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
    """The result of a run."""

    counted: Any
    uncovered: list[Any]
    gaps: list[Gap]
    events: list[ConnectionEvent]
    most_open: dict[str, int]  # by venue
    not_sent: int  # trades that no connection got, although its symbol had been subscribed before


def written(collector: CollectorProcess) -> tuple[list[Gap], list[ConnectionEvent]]:
    ledger = Ledger(collector.data)
    try:
        return [gap for _, gap in ledger.gaps()], ledger.connection_events()
    finally:
        ledger.close()


def renewed_in(events: list[ConnectionEvent]) -> set[str]:
    return {f"{one.exchange}.{one.market_type}" for one in events if one.event == "renewed"}


def run(tmp_path: Path, done: Callable[[list[ConnectionEvent]], bool], rules: dict[str, Any], per_connection: int = 0) -> Renewed:
    """Trade until that has happened to the connections."""
    with SimProcess(venues=VENUES, symbols=6, rate=1200.0, paused=True, folder=str(tmp_path / "venues"), rules=rules) as sim, \
            CollectorProcess(sim, tmp_path, plugins=short_lived(tmp_path),
                             exchanges=small_connections(sim, per_connection)) as collector:
        collector.wait_until_up()
        sim.resume()
        deadline = time.monotonic() + HANGS_S
        while not done(written(collector)[1]) and time.monotonic() < deadline:
            time.sleep(0.5)
        sim.pause()
        collector.wait_until_idle()
        assert collector.stop() == 0
        truth = sim.truth()
    counted = counted_in_journal(truth, collector.data)
    gaps, events = written(collector)
    return Renewed(counted, [one for one in missing(truth, counted) if not covered(one, gaps)], gaps, events, most_open(truth),
                   not_sent(truth))


def small_connections(sim: SimProcess, symbols: int) -> dict[str, Any]:
    """Return the exchanges section of a config with so many symbols on a connection."""
    exchanges: dict[str, Any] = {exchange: {} for exchange in EXCHANGES}
    for venue, urls in sim.addresses["venues"].items():
        exchange, market = venue.split(".")
        exchanges[exchange][market] = {**urls, "symbols_per_connection": symbols}
    return exchanges


def not_sent(truth: Truth) -> int:
    """Return how many trades no connection got."""
    records = truth.records
    return len(truth.keys(records[records["state"] >= NO_SUBSCRIBER]) - truth.keys(records[records["state"] < NO_SUBSCRIBER]))


def most_open(truth: Truth) -> dict[str, int]:
    """Return the largest number of connections that each venue had at a time."""
    now, most = dict.fromkeys(VENUES, 0), dict.fromkeys(VENUES, 0)
    for event in truth.events:
        if event["kind"] in ("up", "down"):
            now[event["venue"]] += 1 if event["kind"] == "up" else -1
            most[event["venue"]] = max(most[event["venue"]], now[event["venue"]])
    return most


def test_renewals_on_every_venue_lose_nothing_double_nothing_and_leave_no_gap(tmp_path):
    renewed = run(tmp_path, lambda events: renewed_in(events) == set(VENUES), {}, per_connection=3)
    assert renewed.counted.equal and renewed.counted.sent > 2_500, renewed.counted
    assert renewed_in(renewed.events) == set(VENUES)
    assert not [gap for gap in renewed.gaps if gap.state != "filled"]  # an id that came early on the other connection
    assert not renewed.not_sent
    # one connection at a time; a busy venue may notice the end of an old connection after the beginning of the next
    assert all(FEWEST < most <= MOST + 2 for most in renewed.most_open.values()), renewed.most_open


def test_venues_that_close_at_the_planned_time_while_the_successor_is_read_too_lose_nothing(tmp_path):
    def cut_short(events: list[ConnectionEvent]) -> bool:
        return any("the old connection ended first: " in one.reason for one in events)

    renewed = run(tmp_path, cut_short, {venue: {"connection_age_s": AGE_S + 1.5} for venue in VENUES})
    assert renewed.counted.equal and not renewed.uncovered, renewed.counted
    assert cut_short(renewed.events)
