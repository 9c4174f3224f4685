"""The collector's scheduled jobs delay nothing, and survive the errors of a sink."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from pumpwatch.app.collector import Collector
from pumpwatch.app.jobs import CollectorJobs
from pumpwatch.app.listings import ListingStage
from pumpwatch.clock import FakeClock
from pumpwatch.hookspecs import ListingEvent
from pumpwatch.listing.archive import Pass, Span, write_archive
from pumpwatch.model import Instrument, Listing
from pumpwatch.ops.renewal_request import drop
from pumpwatch.pipeline.ingest import Logged
from pumpwatch.records import Quarantined
from pumpwatch.store.folder_lock import lock_takeover
from tests.app.unstarted import KeptRows
from tests.trades import batch_of, catalogue_of

LISTING = Listing(source="upbit", notice_id="7", symbol="SOMI", title="t", announced_at_ns=1, detected_at_ns=2, triggered_at_ns=3)
NOW_NS = 1_795_000_000_000_000_000


def test_a_sink_that_refuses_health_rows_and_listings_stops_neither(
        collector: Collector, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    collector.jobs._write_health()
    assert collector.stats.get("health_rows_not_written_total", sink="odd") == 1
    collector.journal.open()
    try:
        ListingStage(collector).publisher.publish(LISTING, Path("archive"), 1)
    finally:
        collector.journal.close()
    assert "it refuses the user" in caplog.text


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
        ListingStage(collector).publisher.publish(LISTING, archive.path, archive.trades)
    finally:
        collector.journal.close()
    assert sink.events == [ListingEvent(str(archive.path), archive.trades, ("binance",))]


def test_the_summary_tells_what_was_quarantined_since_the_last_line(
        collector: Collector, caplog: pytest.LogCaptureFixture) -> None:
    collector.ingest._logged["binance.spot"] = Logged(Quarantined(1, "binance", "spot", "no trade", b"<html>"))
    collector.stats.add("quarantined_frames_total", 3, venue="binance.spot")
    collector.jobs._summary()
    assert "frames quarantined venue=binance.spot count=3 reason=no trade frame=b'<html>'" in caplog.text


def test_a_coin_that_no_venue_lists_is_logged_once_all_lists_have_come(
        collector: Collector, caplog: pytest.LogCaptureFixture) -> None:
    first = SimpleNamespace(venue=SimpleNamespace(name="a.spot"), placement=(), has_list=True, absent_coins={"PEPPE", "BTC"})
    second = SimpleNamespace(venue=SimpleNamespace(name="b.spot"), placement=(), has_list=False, absent_coins=set())
    collector.venues = [first, second]
    collector.jobs._report_absent_coins()
    assert caplog.text == ""
    second.has_list, second.absent_coins = True, {"PEPPE"}
    for _ in range(2):
        collector.jobs._report_absent_coins()
    assert [record.getMessage() for record in caplog.records] == [
        "no venue lists a chosen coin, check its spelling coin=PEPPE"]


def test_a_request_renews_the_connections_of_its_venues_and_its_end_is_logged(
        collector: Collector, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    renewed: list[str] = []
    left = dict.fromkeys(("a.spot", "b.spot"), 0)
    collector.venues = [SimpleNamespace(venue=SimpleNamespace(name=name), renew=lambda reason, name=name: renewed.append(name),
                                        awaiting_renewal=lambda name=name: left[name])
                        for name in ("a.spot", "b.spot")]
    drop(tmp_path, ["b.spot"])
    left["b.spot"] = 3
    collector.jobs._take_renewals()
    left["b.spot"] = 1
    collector.jobs._take_renewals()
    assert renewed == ["b.spot"] and "connections are renewed one after the other venue=b.spot connections=3" in caplog.text
    assert "all connections are renewed" not in caplog.text
    left["b.spot"] = 0
    for _ in range(2):
        collector.jobs._take_renewals()
    assert caplog.text.count("all connections are renewed venue=b.spot connections=3 took_s=") == 1
    drop(tmp_path, ["a.spot"])
    collector.jobs._take_renewals()
    assert "renewal requested, but no connection is open venue=a.spot" in caplog.text


def test_a_step_of_the_clock_is_logged_and_the_jobs_are_laid_anew(
        collector: Collector, caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    collector.clock = clock
    jobs = CollectorJobs(collector, collector.status)
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


def test_while_another_process_takes_over_half_of_the_limits_is_left_to_it(collector: Collector) -> None:
    venue, _ = collector.chosen[0]
    bucket = collector.rate_limits.requests(venue)
    whole, handle = bucket.rate, lock_takeover(collector.folder)
    collector.jobs._share_limits()
    assert bucket.rate == whole / 2
    os.close(handle)
    collector.jobs._share_limits()
    assert bucket.rate == whole
