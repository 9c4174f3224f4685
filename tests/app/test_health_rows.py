"""A venue's row of health: one word, the counts of a minute, and the reason."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pumpwatch.app.collector import Collector
from pumpwatch.app.health_rows import status_of
from pumpwatch.config import VenueConfig
from pumpwatch.model import Instrument
from pumpwatch.store.journal import Recovery
from tests.app.unstarted import KeptRows
from tests.trades import batch_of

NOW_NS = 1_795_000_000_000_000_000


@pytest.mark.parametrize(("up", "wanted", "list_problem", "problem", "status"), [
    (2, 2, "", "timed out an hour ago", "connected"), (1, 2, "", "timed out", "degraded"),
    (2, 2, "it lacks 40 symbols", "", "degraded"), (0, 2, "", "connection refused", "error"),
    (0, 0, "HTTP 418", "", "error"), (0, 2, "", "", "disconnected")])
def test_a_venue_is_connected_degraded_disconnected_or_in_error(
        up: int, wanted: int, list_problem: str, problem: str, status: str) -> None:
    assert status_of({"connections_up": up, "connections": wanted, "list_problem": list_problem, "problem": problem}) == status


def test_a_venue_with_silent_symbols_or_late_trades_is_degraded() -> None:
    good = {"connections_up": 2, "connections": 2, "list_problem": "", "problem": ""}
    assert [status_of(good | wrong) for wrong in ({"silent": []}, {"silent": ["X"]}, {"lag_ms": 6000.0})] == [
        "connected", "degraded", "degraded"]


def test_a_health_row_has_the_minutes_counts_the_last_trade_and_the_reason(collector: Collector, tmp_path: Path) -> None:
    sink = KeptRows()
    collector.sinks = {"kept": sink}
    venue = collector.chosen[0][0]
    number = collector.catalogue.add((venue.exchange, venue.market_type), Instrument(symbol="X", base="X", quote="USDT"))
    collector._add_venue(venue, VenueConfig(), Recovery(0, 0, {}, [], True), 0)
    collector.ingest.dedupe.observe(replace(batch_of(3, start_ns=NOW_NS), instrument=np.full(3, number, np.int32)))
    collector.venues[0]._reports.problem = "HTTP 502"
    for frames, trades in ((5, 7), (3, 2)):
        collector.stats.add("frames_total", frames, venue=venue.name)
        collector.stats.add("trades_total", trades, venue=venue.name)
        collector.jobs._write_health()
        row, = sink.rows
        assert (row["message_count"], row["trades"], row["connections"]) == (frames, trades, 0)
    assert row["last_trade_time"] == NOW_NS + 2 * 200_000
    assert (row["status"], row["error_message"]) == ("error", "nothing is read: no instrument list: HTTP 502")
