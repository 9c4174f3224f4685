"""Jobs go on at their pace whatever the wall clock does."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import gevent
import pytest
from gevent.event import Event

from pumpwatch.ops.schedule import Every, Scheduler
from pumpwatch.clock import FakeClock

NOW = datetime(2026, 11, 21, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@pytest.fixture
def scheduler() -> Iterator[Scheduler]:
    one = Scheduler()
    yield one
    if one.running:
        one.shutdown(wait=False)


def test_a_run_follows_the_last_by_the_interval() -> None:
    every = Every(5)
    assert every.get_next_fire_time(None, NOW) == NOW + 5 * SECOND
    assert every.get_next_fire_time(NOW - 2 * SECOND, NOW) == NOW + 3 * SECOND


@pytest.mark.parametrize("step", [timedelta(days=5), timedelta(days=9000), timedelta(seconds=-120), timedelta(hours=-1)])
def test_after_a_step_the_next_run_is_an_interval_away(step: timedelta) -> None:
    assert Every(5).get_next_fire_time(NOW - SECOND, NOW + step) == NOW + step + 5 * SECOND


def test_a_job_that_hangs_is_overdue_and_its_next_runs_are_skipped() -> None:
    clock = FakeClock()
    scheduler, release, ran = Scheduler(clock), Event(), Event()

    def hang() -> None:
        ran.set()
        release.wait(60)

    scheduler.add_job(hang, "interval", seconds=0.05, id="hanging")
    scheduler.start()
    try:
        assert ran.wait(60)
        with gevent.Timeout(60):
            while not row_of(scheduler)["skipped"]:
                gevent.sleep(0.01)
        assert row_of(scheduler)["overdue_s"] == 0.0
        clock.advance(100)
        assert row_of(scheduler)["overdue_s"] == pytest.approx(100, abs=0.2)
        release.set()
        with gevent.Timeout(60):
            while not row_of(scheduler)["runs"]:
                gevent.sleep(0.01)
        assert row_of(scheduler)["overdue_s"] == 0.0 and row_of(scheduler)["errors"] == 0
    finally:
        release.set()
        scheduler.shutdown(wait=False)


def row_of(scheduler: Scheduler) -> dict[str, Any]:
    (row,) = scheduler.rows()
    return row


def test_a_jitter_delays_by_no_more() -> None:
    every = Every(5, 0.5)
    for _ in range(100):
        assert NOW + 5 * SECOND <= every.get_next_fire_time(None, NOW) <= every.latest(NOW) == NOW + 5.5 * SECOND


def test_a_step_forward_of_years_is_one_run_and_not_each_that_was_missed(scheduler: Scheduler) -> None:
    runs: list[int] = []
    done = Event()

    def job() -> None:
        runs.append(1)
        done.set()

    planned = scheduler.add_job(job, "interval", seconds=50, next_run_time=datetime.now(UTC) - timedelta(days=9000))
    scheduler.start()
    assert done.wait(20)
    gevent.sleep(0.05)
    assert runs == [1]
    assert planned.next_run_time <= datetime.now(UTC) + 51 * SECOND


def test_jobs_that_a_step_back_has_moved_away_run_again(scheduler: Scheduler) -> None:
    done = Event()
    far = datetime.now(UTC) + timedelta(hours=1)  # as an hour's step back leaves it

    def job() -> None:
        done.set()

    stranded = scheduler.add_job(job, "interval", seconds=0.02, next_run_time=far)
    waiting = scheduler.add_job(print, "interval", seconds=30)
    scheduler.start()
    before = waiting.next_run_time
    gevent.sleep(0.05)
    assert stranded.next_run_time == far and not done.is_set()
    scheduler.reschedule_all()
    assert done.wait(20)
    assert waiting.next_run_time == before


def test_a_row_of_a_job_has_its_last_run_and_its_last_error(scheduler: Scheduler) -> None:
    ran = Event()

    def fail_once() -> None:
        if not ran.is_set():
            ran.set()
            raise ValueError("not this time")
        ended.set()

    ended = Event()
    scheduler.add_job(fail_once, "interval", seconds=0.05)
    scheduler.add_job(lambda: None, "interval", seconds=1000, id="count minutes", name="count minutes")
    assert [(row["name"], row["next_at"], row["runs"]) for row in scheduler.rows()] == [
        ("count minutes", None, 0), ("fail once", None, 0)]
    scheduler.start()
    assert ran.wait(30)
    gevent.sleep(0)
    failed = scheduler.rows()[1]
    assert failed["error"] == "ValueError: not this time" and failed["errors"] == 1 and failed["last_at"] < failed["next_at"]
    assert ended.wait(30)
    gevent.sleep(0)
    well = scheduler.rows()[1]
    assert well["error"] == "" and well["errors"] == 1 and well["runs"] >= 2 and well["took_s"] is not None


def test_a_run_that_may_last_long_is_overdue_only_after_that() -> None:
    clock, ending, began = FakeClock(), Event(), Event()
    scheduler = Scheduler(clock)

    def job() -> None:
        began.set()
        ending.wait()

    scheduler.add_job(job, "interval", seconds=20, next_run_time=datetime.now(UTC), id="backup", name="backup", lasts_s=3600.0)
    scheduler.start()
    try:
        assert began.wait(30)
        clock.advance(3600.0)
        assert scheduler.rows()[0]["overdue_s"] == 0.0
        clock.advance(100.0)
        assert scheduler.rows()[0]["overdue_s"] == 80.0
    finally:
        ending.set()
        scheduler.shutdown(wait=False)
