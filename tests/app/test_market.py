"""Recording goes on whatever becomes of the process that makes market data: it is started again, or ended where it hangs."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import gevent
import pytest
from gevent.threadpool import ThreadPool

from pumpwatch.app import market
from pumpwatch.app.market import MarketProcess
from pumpwatch.clock import Clock
from pumpwatch.config import load

SAID = '{"figures": {"candles": 7}, "jobs": [{"name": "candles"}]}'
STATE = f"import sys, time; sys.stdin.readline(); print({SAID!r}, flush=True)"


@contextmanager
def running(program: str, **parts: object) -> Iterator[MarketProcess]:
    made = MarketProcess(SimpleNamespace(config=load(None, {}), clock=Clock(), **parts), (sys.executable, "-c", program), 0.0)
    greenlet = gevent.spawn(made.run)
    try:
        yield made
    finally:
        made.stop()
        greenlet.kill()


def wait_until(done) -> None:
    with gevent.Timeout(60):
        while not done():
            gevent.sleep(0.02)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(market, "AGAIN_S", 0.05)


def test_its_figures_and_jobs_are_those_of_the_collector() -> None:
    with running(f"{STATE}; sys.stdin.read()") as made:
        wait_until(lambda: made.status().get("candles") == 7)
        assert made.rows() == [{"name": "candles"}]
        assert made.status()["problem"] == ""


def test_one_that_is_killed_starts_again() -> None:
    with running(f"{STATE}; sys.stdin.read()") as made:
        wait_until(lambda: made.status().get("candles") == 7)
        os.kill(made.pid, signal.SIGKILL)
        wait_until(lambda: made.starts == 2 and made.status()["problem"] == "" and made.pid)


def test_one_that_hangs_is_ended_and_starts_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(market, "SILENT_S", 0.5)
    with running(f"{STATE}; time.sleep(3600)") as made:
        wait_until(lambda: made.starts >= 2)


def test_one_that_refuses_for_good_is_not_started_again(caplog: pytest.LogCaptureFixture) -> None:
    made = MarketProcess(SimpleNamespace(config=load(None, {}), clock=Clock()), (
        sys.executable, "-c", 'print(\'{"failed": "a newer version wrote it", "for_good": true}\')'), 0.0)
    with gevent.Timeout(60):
        made.run()
    assert made.starts == 1
    assert made.status()["problem"] == "a newer version wrote it"
    assert "a newer version wrote it" in caplog.text


def test_one_that_cannot_be_started_is_tried_again() -> None:
    made = MarketProcess(SimpleNamespace(config=load(None, {}), clock=Clock()), ("/nonexistent/python",), 0.0)
    greenlet = gevent.spawn(made.run)
    wait_until(lambda: "cannot be started" in made.status()["problem"])
    assert made.rows() == []
    made.stop()
    greenlet.kill()


def test_what_is_not_a_line_of_its_own_changes_nothing() -> None:
    with running(f"print('garbage', flush=True); {STATE}; sys.stdin.read()") as made:
        wait_until(lambda: made.status().get("candles") == 7)


def test_an_end_that_another_part_of_the_process_has_seen_is_not_printed(capfd: pytest.CaptureFixture[str]) -> None:
    pid = os.posix_spawn("/bin/true", ("true",), {})
    os.waitpid(pid, 0)
    ThreadPool(1).apply(market.reap, (pid,))
    assert "ChildProcessError" not in capfd.readouterr().err
