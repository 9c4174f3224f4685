"""The jobs of the ledger of minutes: what is counted and watched, and that nothing waits for a ledger that refuses."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pumpwatch.app.collector import Collector
from pumpwatch.app.jobs import CollectorJobs
from pumpwatch.clock import NS_PER_S, FakeClock
from pumpwatch.config import Config, ReportsConfig, StoreConfig
from pumpwatch.feeds.slices import Unwatched
from pumpwatch.store.coverage import FILE_NAME, CoverageFile
from pumpwatch.store.minutes import MINUTE_NS
from pumpwatch.store.sqlite import connect
from tests.trades import batch_of, catalogue_of

START_NS = 29_916_000 * MINUTE_NS


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Collector]:
    made = Collector(Config(store=StoreConfig(dir=str(tmp_path)), symbols_file=str(tmp_path / "s.yaml")))
    made.clock = FakeClock(START_NS)
    made.jobs = CollectorJobs(made, made.status)  # with this clock
    made.journal.open()
    yield made
    made.journal.close()


def venue(*symbols: str, has_list: bool = True, unwatched: Unwatched | None = None) -> Any:
    left = [unwatched] if unwatched else []
    return SimpleNamespace(venue=SimpleNamespace(exchange="binance", market_type="spot"), has_list=has_list,
                           watched=lambda: set(symbols), take_unwatched=lambda: left.pop() if left else Unwatched())


def store(collector: Collector, rows: int = 100) -> None:
    made = catalogue_of()
    for key, instrument in zip(made.venues, made.instruments, strict=True):
        collector.catalogue.add_if_new(key, instrument)
    collector.journal.commit(batch_of(rows, start_ns=START_NS))


def watched(folder: Path) -> list[tuple[int, list[str]]]:
    return [((run.from_ns - START_NS) // NS_PER_S, sorted(run.symbols)) for run in CoverageFile(folder, read_only=True).watched()]


def test_what_is_stored_is_counted_and_may_expire_then(collector: Collector, tmp_path: Path) -> None:
    minutes = collector.jobs.minutes
    store(collector)
    assert minutes.counted() == 0
    minutes.count()
    assert minutes.counted() == 1 and CoverageFile(tmp_path, read_only=True).counted_upto == 1


def test_what_is_watched_is_written_where_it_changes(collector: Collector, tmp_path: Path) -> None:
    minutes, clock = collector.jobs.minutes, collector.clock
    for symbols in (("A",), ("A",), ("A", "B")):
        collector.venues = [venue(*symbols)]
        minutes.watch()
        clock.advance(5)  # type: ignore[attr-defined]
    collector.venues = [venue(has_list=False)]
    minutes.watch()
    assert watched(tmp_path) == [(0, ["A"]), (10, ["A", "B"])]


def test_what_was_left_to_another_collector_is_not_watched_since_then_though_it_be_back(collector: Collector,
                                                                                        tmp_path: Path) -> None:
    minutes, clock = collector.jobs.minutes, collector.clock
    collector.venues = [venue("A", "B", "C")]
    minutes.watch()
    clock.advance(5)  # type: ignore[attr-defined]
    collector.venues = [venue("A", "B", unwatched=Unwatched(START_NS + 2 * NS_PER_S, {"B", "C"}))]
    minutes.watch()
    assert watched(tmp_path) == [(0, ["A", "B", "C"]), (2, ["A"]), (5, ["A", "B"])]


def test_in_a_cluster_nothing_is_watched_since_the_run_before_ended(collector: Collector, tmp_path: Path) -> None:
    collector.venues = [venue("A", "B")]
    collector.jobs.minutes.watch()
    collector.clock.advance(60)  # type: ignore[attr-defined]
    following = type(collector.jobs.minutes)(collector)
    collector.venues = [venue(has_list=False, unwatched=Unwatched(START_NS + 9 * NS_PER_S, every=True))]
    following.watch()
    assert watched(tmp_path) == [(0, ["A", "B"]), (9, [])]


def test_the_next_run_goes_on_with_what_was_watched(collector: Collector, tmp_path: Path) -> None:
    collector.venues = [venue("A", "B")]
    collector.jobs.minutes.watch()
    collector.clock.advance(60)  # type: ignore[attr-defined]
    following = type(collector.jobs.minutes)(collector)
    following.watch()
    assert watched(tmp_path) == [(0, ["A", "B"])]
    collector.venues = [venue("A")]
    following.watch()
    assert watched(tmp_path) == [(0, ["A", "B"]), (60, ["A"])]


def test_after_damage_the_watched_symbols_are_written_again(collector: Collector, tmp_path: Path) -> None:
    minutes = collector.jobs.minutes
    collector.venues = [venue("A")]
    minutes.watch()
    store(collector)
    minutes.count()
    connection = connect(tmp_path / FILE_NAME)
    connection.execute("UPDATE hours SET counts = x'00'")
    connection.close()
    store(collector)
    minutes.count()
    minutes.watch()
    assert watched(tmp_path) == [(0, ["A"])] and minutes.counted() == 2


def test_nothing_waits_for_a_ledger_of_minutes_that_refuses(collector: Collector, tmp_path: Path, caplog) -> None:
    caplog.set_level(logging.INFO)
    minutes = collector.jobs.minutes
    store(collector)
    (tmp_path / FILE_NAME).mkdir()
    for _ in range(2):
        minutes.count()
        minutes.watch()
        minutes.thin()
    assert minutes.counted() is None
    assert [caplog.text.count(f"ledger of minutes refuses, trades are stored all the same job={job} ")
            for job in ("count", "watch", "thin")] == [1, 1, 1]
    (tmp_path / FILE_NAME).rmdir()
    minutes.count()
    assert minutes.counted() == 1 and "ledger of minutes is good again job=count" in caplog.text


def test_a_report_that_fails_lets_no_segment_expire_uncounted(collector: Collector, tmp_path: Path, caplog) -> None:
    caplog.set_level(logging.INFO)
    minutes = collector.jobs.minutes
    store(collector)
    minutes.count()
    collector.clock.advance(86_400)  # type: ignore[attr-defined]
    (tmp_path / "reports" / "2000-01-01.json").mkdir(parents=True)  # too old, and not a file that can be removed
    minutes.report()
    assert "job=report" in caplog.text and minutes.counted() == 1


def test_a_segment_that_stays_locked_holds_up_the_expiry_for_an_hour(collector: Collector, caplog) -> None:
    minutes, clock = collector.jobs.minutes, collector.clock
    store(collector)
    (segment,) = collector.journal.readable_segments()
    segment.locked = True
    for _ in range(6):
        minutes.count()
        assert minutes.counted() == 0
        clock.advance(601)  # type: ignore[attr-defined]
    for _ in range(2):
        minutes.count()
        assert minutes.counted() is None
    assert caplog.text.count("segment locked for too long") == 1
    segment.locked = False
    minutes.count()
    assert minutes.counted() == 1


def test_reports_are_a_named_job_and_may_be_switched_off(collector: Collector, tmp_path: Path) -> None:
    collector.jobs.minutes.report()
    assert not (tmp_path / "reports").exists(), "no day has ended"
    for enabled in (True, False):
        collector.config.reports = ReportsConfig(enabled=enabled)
        jobs = type(collector.jobs)(collector, collector.status)
        jobs.start()
        try:
            assert ("report" in [job.id for job in jobs.scheduler.get_jobs()]) == enabled
        finally:
            jobs.stop()
            collector.supervisor.stop_all(1.0)
