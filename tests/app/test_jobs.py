"""What a collector does beside collecting: it holds nothing up, and survives what a sink says."""

from __future__ import annotations

import json
import logging
import stat
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import gevent
import numpy as np
import pytest

from pumpwatch.app.collector import Collector
from pumpwatch.app.health_rows import status_of
from pumpwatch.app.jobs import Jobs
from pumpwatch.app.listings import Listings
from pumpwatch.app.status import Status
from pumpwatch.clock import FakeClock
from pumpwatch.config import Config, ListingConfig, PluginsConfig, StoreConfig, VenueConfig
from pumpwatch.hookspecs import ListingEvent, Sink
from pumpwatch.listing.archive import Pass, Span, write_archive
from pumpwatch.model import Instrument, Listing
from pumpwatch.ops.health import FILE
from pumpwatch.pipeline.ingest import Told
from pumpwatch.records import Quarantined
from pumpwatch.store.journal import Recovery
from tests.trades import batch_of, catalogue_of

LISTING = Listing(source="upbit", notice_id="7", symbol="SOMI", title="t", announced_at_ns=1, detected_at_ns=2, triggered_at_ns=3)
NOW_NS = 1_795_000_000_000_000_000


class SlowDisk:
    """A journal whose files take their time to say how large they are."""

    def __init__(self) -> None:
        self.asked, self.answer = threading.Event(), threading.Event()

    def size_bytes(self) -> int:
        self.asked.set()
        assert self.answer.wait(10)
        return 4711


class KeptRows(Sink):
    """A sink that keeps health rows and listings."""

    def __init__(self) -> None:
        self.rows: list[Mapping[str, Any]] = []
        self.events: list[ListingEvent] = []

    def write_health(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self.rows = list(rows)

    def write_listing(self, listing: Listing, event: ListingEvent) -> None:
        self.events.append(event)


@pytest.fixture
def collector(tmp_path: Path) -> Collector:
    return Collector(Config(
        store=StoreConfig(dir=str(tmp_path)), listing=ListingConfig(archive_dir=str(tmp_path)),
        plugins=PluginsConfig(folder=str(Path(__file__).parent / "sinks")), sinks={"odd": {"way": "misfit"}}))


def test_figures_are_written_while_everything_else_goes_on(collector: Collector, tmp_path: Path) -> None:
    disk = SlowDisk()
    collector.journal = disk  # type: ignore[assignment]
    part = gevent.spawn(collector.status.write)
    with gevent.Timeout(10):
        while not disk.asked.is_set():
            gevent.sleep(0.001)
    assert not part.dead and not (tmp_path / FILE).exists()
    disk.answer.set()
    part.join(10)
    assert json.loads((tmp_path / FILE).read_text("utf-8"))["journal"]["bytes"] == 4711
    assert collector.status.now()["journal"]["bytes"] == 4711


def test_figures_that_cannot_be_written_are_counted(tmp_path: Path, collector: Collector) -> None:
    (tmp_path / FILE).with_suffix(".new").mkdir()
    collector.status.write()
    assert collector.stats.get("figures_not_written_total") == 1


def test_a_sink_that_refuses_health_rows_and_listings_stops_neither(
        collector: Collector, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    collector.jobs._write_health()
    assert collector.stats.get("health_rows_not_written_total", sink="odd") == 1
    collector.journal.open()
    try:
        Listings(collector).publisher.publish(LISTING, Path("archive"), 1)
    finally:
        collector.journal.close()
    assert "it refuses the user" in caplog.text


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
    collector.venues[0]._list_problem = "HTTP 502"
    for frames, trades in ((5, 7), (3, 2)):
        collector.stats.add("frames_total", frames, venue=venue.name)
        collector.stats.add("trades_total", trades, venue=venue.name)
        collector.jobs._write_health()
        row, = sink.rows
        assert (row["message_count"], row["trades"], row["connections"]) == (frames, trades, 0)
    assert row["last_trade_time"] == NOW_NS + 2 * 200_000
    assert (row["status"], row["error_message"]) == ("error", "nothing is read: no instrument list: HTTP 502")


def test_a_listing_event_names_the_exchanges_that_have_trades_in_the_archive(collector: Collector, tmp_path: Path) -> None:
    sink = KeptRows()
    collector.sinks = {"kept": sink}
    batch = batch_of(50, start_ns=NOW_NS)
    catalogue = catalogue_of()
    catalogue.add(("okx", "spot"), Instrument(symbol="C0-USDT", base="C0", quote="USDT"))
    span = Span("C0", [replace(LISTING, symbol="C0", announced_at_ns=NOW_NS)], [(NOW_NS, NOW_NS + 10**9)])
    archive = write_archive(tmp_path, span, batch, catalogue, [], [], Pass(1))
    collector.journal.open()
    try:
        Listings(collector).publisher.publish(LISTING, archive.path, archive.trades)
    finally:
        collector.journal.close()
    assert sink.events == [ListingEvent(str(archive.path), archive.trades, ("binance",))]


def test_the_summary_tells_what_was_quarantined_since_the_last_line(
        collector: Collector, caplog: pytest.LogCaptureFixture) -> None:
    collector.ingest._told["binance.spot"] = Told(Quarantined(1, "binance", "spot", "no trade", b"<html>"))
    collector.stats.add("quarantined_frames_total", 3, venue="binance.spot")
    collector.jobs._summary()
    assert "frames quarantined venue=binance.spot count=3 reason=no trade frame=b'<html>'" in caplog.text


def test_a_step_of_the_clock_is_logged_and_the_jobs_are_laid_anew(
        collector: Collector, caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    collector.clock = clock
    jobs = Jobs(collector, collector.status)
    far = datetime.now(UTC) + timedelta(hours=1)
    job = jobs.scheduler.add_job(print, "interval", seconds=5, next_run_time=far)
    jobs.scheduler.start(paused=True)
    try:
        jobs.check_clock()
        assert job.next_run_time == far and caplog.text == ""
        clock.step(-3600)
        jobs.check_clock()
        assert job.next_run_time < datetime.now(UTC) + timedelta(seconds=6)
        assert "by_s=-3600.0" in caplog.text
        assert collector.stats.get("clock_steps_total") == 1
    finally:
        jobs.stop()


def test_figures_are_not_for_everybody_and_count_their_time_by_the_steady_clock(tmp_path: Path, collector: Collector) -> None:
    (tmp_path / FILE).with_suffix(".new").write_text("left by a killed run")
    (tmp_path / FILE).with_suffix(".new").chmod(0o666)
    clock = FakeClock()
    collector.clock = clock
    collector.status = Status(collector)
    clock.advance(5)
    clock.step(-3600)
    collector.status.write()
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o640
    assert json.loads((tmp_path / FILE).read_text("utf-8"))["up_s"] == 5.0
