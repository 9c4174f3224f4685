"""A collector's figures, read from its data folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.console import Console

from pumpwatch.clock import NS_PER_S, FakeClock
from pumpwatch.errors import ServiceUnavailable
from pumpwatch.ops import health

CLOCK = FakeClock()


def figures(**changes: Any) -> dict[str, Any]:
    venue = {"connections_up": 2, "connections": 3, "instruments": 450, "subscribed": 448, "refused": ["AUSDT", "BUSDT"],
             "trades_total": 1_234_567,
             "trades_per_s": 812.4, "lag_ms": 61.2, "gaps_open": 1, "quarantined_total": 7_654, "list_problem": ""}
    return {
        "pid": os.getpid(), "started_at_ns": CLOCK.now_ns() - 3_725 * NS_PER_S, "written_at_ns": CLOCK.now_ns(),
        "version": "0.1.0",
        "venues": [{"exchange": "alpha", "market_type": "spot", **venue},
                   {"exchange": "alpha", "market_type": "futures", **venue, "lag_ms": 90.0},
                   {"exchange": "beta", "market_type": "spot", **venue, "gaps_open": 0, "list_problem": "HTTP 502: [/busy]"}],
        "journal": {"backlog_trades": 4321, "bytes": 1_500_000_000, "last_commit_ns": CLOCK.now_ns(), "commits": 99},
        "sinks": [{"name": "questdb", "state": "up", "backlog_trades": 17}],
        "recent": {"trades": 900_000, "bytes": 20_000_000},
        "listing": {"board": {"up": True}, "other": {"up": False, "reason": "HTTP 429 [/]"}, "windows": {"open": 2}},
        **changes}


def write(folder: Path, status: dict[str, Any]) -> None:
    (folder / health.FILE).write_bytes(msgspec.json.encode(status))


def test_a_running_collectors_figures_are_read_as_they_are(tmp_path: Path) -> None:
    write(tmp_path, figures())
    assert health.read(tmp_path, CLOCK) == figures()


def test_an_empty_folder_has_no_collector(tmp_path: Path) -> None:
    with pytest.raises(ServiceUnavailable, match="no collector runs"):
        health.read(tmp_path, CLOCK)


def test_a_killed_collector_is_not_taken_for_a_running_one(tmp_path: Path) -> None:
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    write(tmp_path, figures(pid=int(dead.stdout), written_at_ns=CLOCK.now_ns() - 90 * NS_PER_S))
    with pytest.raises(ServiceUnavailable, match="died 90 s ago"):
        health.read(tmp_path, CLOCK)


def test_a_collector_that_was_stopped_says_when(tmp_path: Path) -> None:
    write(tmp_path, figures(pid=0, written_at_ns=CLOCK.now_ns() - 300 * NS_PER_S))
    with pytest.raises(ServiceUnavailable, match="the last one ended 5 min ago"):
        health.read(tmp_path, CLOCK)


def test_a_collector_that_stopped_writing_is_said_to_hang(tmp_path: Path) -> None:
    write(tmp_path, figures(written_at_ns=CLOCK.now_ns() - 60 * NS_PER_S))
    with pytest.raises(ServiceUnavailable, match="has said nothing since 60 s ago"):
        health.read(tmp_path, CLOCK)


@pytest.mark.parametrize("step_s", [-3600, 432_000])
def test_a_step_of_the_clock_makes_no_collector_silent_and_hides_none_that_is(tmp_path: Path, step_s: float) -> None:
    clock = FakeClock()
    write(tmp_path, figures(written_at_ns=clock.now_ns(), written_monotonic_s=clock.monotonic(), up_s=65.0))
    clock.advance(2)
    clock.step(step_s)
    assert "up 0:01:05" in health._title(health.read(tmp_path, clock), clock.now_ns())
    clock.advance(60)
    with pytest.raises(ServiceUnavailable, match="has said nothing since 62 s ago"):
        health.read(tmp_path, clock)


def test_figures_from_before_a_reboot_are_judged_by_their_date(tmp_path: Path) -> None:
    write(tmp_path, figures(written_at_ns=CLOCK.now_ns() - 60 * NS_PER_S, written_monotonic_s=CLOCK.monotonic() + 500.0))
    with pytest.raises(ServiceUnavailable, match="has said nothing since 60 s ago"):
        health.read(tmp_path, CLOCK)


@pytest.mark.parametrize("content", [b"", b"{", b"[]"])
def test_a_damaged_file_is_no_crash(tmp_path: Path, content: bytes) -> None:
    (tmp_path / health.FILE).write_bytes(content)
    with pytest.raises(ServiceUnavailable, match="cannot read"):
        health.read(tmp_path, CLOCK)


def test_the_minute_line_sums_up_each_exchange_and_the_stores() -> None:
    assert health.summary_line(figures()) == (
        "alpha: spot 2/3 + futures 2/3 up, 1,625 trades/s, lag 90 ms, gaps 2 | "
        "beta: spot 2/3 up, 812 trades/s, lag 61 ms, gaps 0 | journal backlog 4,321 | questdb up 17 behind")


def test_the_minute_line_of_a_collector_that_just_started_is_a_line() -> None:
    assert health.summary_line({}) == "journal backlog 0"


def test_the_table_shows_every_venue_and_store() -> None:
    console = Console(width=160, record=True, file=open(os.devnull, "w"))  # noqa: PTH123, SIM115
    console.print(health.table(figures(), CLOCK))
    text = console.export_text()
    for expected in ("up 1:02:05", "alpha.spot", "alpha.futures", "beta.spot", "2/3", "448/450", "1,234,567", "1.5 GB",
                     "sink questdb", "17 trades behind", "listing board", "down, HTTP 429 [/]", "open 2", "7,654",
                     "list of beta.spot", "HTTP 502: [/busy]"):
        assert expected in text
