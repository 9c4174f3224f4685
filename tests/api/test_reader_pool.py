"""Processes that read stored trades."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from gevent.monkey import get_original

from pumpwatch.api import reader_pool
from pumpwatch.api.desk import Desk
from pumpwatch.api.reader_pool import LEAST_BYTES, PACE_S, Busy, ReaderPool, Refused, _Progress
from pumpwatch.api.trade_reader import WantedTrades
from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.errors import ServiceUnavailable
from pumpwatch.stats import Stats
from tests.api.desk import config_of, fill_journal

SPAWN = get_original("os", "posix_spawn")


def wanted(coin: str = "C0") -> WantedTrades:
    now_ns = Clock().now_ns()
    return WantedTrades(coin, now_ns - 7200 * NS_PER_S, now_ns, None, None, "ndjson")


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 30
    while os.path.exists(f"/proc/{pid}"):  # noqa: PTH110
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_process_serves_one_request_after_the_other_and_is_replaced_where_it_has_ended(desk: Desk, tmp_path: Path) -> None:
    fill_journal(tmp_path)
    pool = desk.readers
    first = b"".join(pool.read(wanted()))
    (pid,) = pool.pids
    with pytest.raises(Refused, match="no trades of this coin"):
        pool.read(wanted("NOPE"))
    assert b"".join(pool.read(wanted())) == first and first.count(b"\n") > 100
    assert pool.pids == {pid}
    os.kill(pid, signal.SIGKILL)
    assert b"".join(pool.read(wanted())) == first
    assert pool.pids != {pid}
    wait_until_gone(pid)


def test_an_answer_that_is_given_up_ends_its_process(desk: Desk, tmp_path: Path) -> None:
    fill_journal(tmp_path)
    answer = desk.readers.read(wanted())
    next(answer)
    (pid,) = desk.readers.pids
    answer.close()  # type: ignore[attr-defined]
    wait_until_gone(pid)
    assert not desk.readers.pids
    assert b"".join(desk.readers.read(wanted()))


def test_a_slow_client_makes_room_for_another_and_one_that_is_not_slow_keeps_its_process(tmp_path: Path) -> None:
    fill_journal(tmp_path, 20_000)
    at_s = 0.0
    pool = ReaderPool(config_of(tmp_path), Stats(), 2, lambda: at_s, wait_s=0.1)
    first, second = pool.read(wanted()), pool.read(wanted())
    begun = next(first), next(second)
    assert all(begun)
    with pytest.raises(Busy):
        pool.read(wanted())
    at_s += PACE_S + 1
    assert b"".join(pool.read(wanted())).count(b"\n") > 1000, "a third client gets its answer"
    with pytest.raises(ServiceUnavailable, match="too slowly"):
        list(first)
    assert list(second), "one process is enough for one client"
    assert b"".join(pool.read(wanted()))
    pool.close()


def test_time_that_the_store_takes_is_not_held_against_the_client() -> None:
    progress = _Progress()
    for second in range(100):
        progress.offered(second)
        progress.taken(10_000, second + 0.1)
    assert not progress.is_slow(1000)
    progress.offered(1000)
    assert progress.is_slow(1000 + PACE_S)
    progress.taken(LEAST_BYTES, 1001)
    progress.offered(1001)
    assert not progress.is_slow(1002)


def test_a_process_that_ends_at_its_start_is_reaped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pids: list[int] = []

    def spawn_one_that_ends(path: str, words: Any, environ: Any, *, file_actions: Any) -> int:
        pids.append(SPAWN("/bin/true", ("true",), environ, file_actions=file_actions))
        os.waitid(os.P_PID, pids[-1], os.WEXITED | os.WNOWAIT)
        return pids[-1]

    monkeypatch.setattr(reader_pool, "_spawn", spawn_one_that_ends)
    pool = ReaderPool(config_of(tmp_path), Stats(), 1, wait_s=0.1)
    for _ in range(2):
        with pytest.raises(ServiceUnavailable, match="ended at its start"):
            pool.read(wanted())
    assert not pool.pids
    for pid in pids:
        wait_until_gone(pid)


def test_closing_ends_the_idle_processes(desk: Desk, tmp_path: Path) -> None:
    fill_journal(tmp_path)
    b"".join(desk.readers.read(wanted()))
    (pid,) = desk.readers.pids
    desk.readers.close()
    wait_until_gone(pid)
