"""Parts that fail are named and started again; those that end are let go."""

from __future__ import annotations

import logging

import gevent
import pytest
from gevent.event import Event

from pumpwatch.stats import Stats
from pumpwatch.supervisor import Supervisor

WITHIN_S = 20.0


@pytest.fixture
def stats():
    return Stats()


@pytest.fixture
def supervisor(stats):
    one = Supervisor(stats)
    yield one
    one.stop_all(1.0)


def test_a_part_that_fails_is_named_with_its_reason_and_runs_again(supervisor, stats, caplog):
    runs: list[int] = []
    done = Event()

    def body() -> None:
        runs.append(1)
        if len(runs) < 3:
            raise RuntimeError("out of paper")
        done.set()

    supervisor.spawn("printer", body)
    assert done.wait(WITHIN_S)
    assert len(runs) == 3 and stats.get("restarts_total", part="printer") == 2
    assert caplog.text.count("part=printer reason=out of paper") == 2
    assert all(record.levelno == logging.ERROR and record.exc_info for record in caplog.records)


def test_a_part_that_returns_is_done(supervisor, stats):
    runs: list[int] = []
    supervisor.spawn("once", lambda: runs.append(1))
    assert supervisor.stop("once", WITHIN_S)
    gevent.sleep(0.05)
    assert runs == [1] and stats.total("restarts_total") == 0


def test_one_part_that_fails_disturbs_no_other(supervisor):
    beats: list[int] = []
    go = Event()

    def steady() -> None:
        while not go.is_set():
            beats.append(1)
            gevent.sleep(0.001)

    def broken() -> None:
        raise ValueError("always")

    supervisor.spawn("steady", steady)
    supervisor.spawn("broken", broken)
    with gevent.Timeout(WITHIN_S):
        while len(beats) < 50:
            gevent.sleep(0.001)
    go.set()
    assert supervisor.stop("steady", WITHIN_S)


def test_a_part_that_was_asked_to_end_is_waited_for_and_killed_at_its_deadline(supervisor, caplog):
    ended: list[str] = []

    def deaf() -> None:
        try:
            gevent.sleep(1000)
        finally:
            ended.append("deaf")

    supervisor.spawn("deaf", deaf)
    gevent.sleep(0)
    assert not supervisor.stop("deaf", 0.05)
    with gevent.Timeout(WITHIN_S):
        while not ended:
            gevent.sleep(0.001)
    assert "part=deaf" in caplog.text and supervisor.stop("deaf", 0.05) and supervisor.stop("nobody", 0.05)


def test_after_the_end_nothing_is_started_again(supervisor, stats):
    runs: list[int] = []

    def broken() -> None:
        runs.append(1)
        raise ValueError("always")

    supervisor.spawn("broken", broken)
    with gevent.Timeout(WITHIN_S):
        while not runs:
            gevent.sleep(0.001)
    supervisor.stop_all(1.0)
    count = len(runs)
    gevent.sleep(0.5)
    assert len(runs) == count


def test_a_part_that_does_not_end_is_named_and_the_stop_goes_on(supervisor, caplog):
    started, end = Event(), Event()

    def deaf() -> None:
        try:
            started.set()
            end.wait()
        except gevent.GreenletExit:
            end.wait()

    supervisor.spawn("deaf", deaf)
    assert started.wait(WITHIN_S)
    supervisor.stop_all(0.01)
    assert "parts did not end in time parts=deaf" in caplog.text
    end.set()
