"""Processes that read stored trades."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from pumpwatch.api.desk import Desk
from pumpwatch.api.reader_pool import Refused
from pumpwatch.api.trade_reader import Wanted
from pumpwatch.clock import NS_PER_S, Clock
from tests.api.desk import fill_journal


def wanted(coin: str = "C0") -> Wanted:
    now_ns = Clock().now_ns()
    return Wanted(coin, now_ns - 7200 * NS_PER_S, now_ns, None, None, "ndjson")


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
    with pytest.raises(Refused, match="nothing is stored"):
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


def test_closing_ends_the_idle_processes(desk: Desk, tmp_path: Path) -> None:
    fill_journal(tmp_path)
    b"".join(desk.readers.read(wanted()))
    (pid,) = desk.readers.pids
    desk.readers.close()
    wait_until_gone(pid)
