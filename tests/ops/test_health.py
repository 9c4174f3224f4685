"""A collector's figures, read from its data folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pumpwatch.clock import NS_PER_S, Clock, FakeClock
from pumpwatch.commands.status_view import status_lines
from pumpwatch.errors import ServiceUnavailable
from pumpwatch.ops import health
from tests.ops.command_line import CommandLine
from tests.ops.data_folder import CLOCK, figures


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


def test_a_collector_that_was_stopped_is_reported_with_the_time(tmp_path: Path) -> None:
    write(tmp_path, figures(pid=0, written_at_ns=CLOCK.now_ns() - 300 * NS_PER_S))
    with pytest.raises(ServiceUnavailable, match="the last one ended 5 min ago"):
        health.read(tmp_path, CLOCK)


def test_a_collector_that_stopped_writing_is_reported_as_hanging(tmp_path: Path) -> None:
    write(tmp_path, figures(written_at_ns=CLOCK.now_ns() - 60 * NS_PER_S))
    with pytest.raises(ServiceUnavailable, match="last wrote its figures 60 s ago"):
        health.read(tmp_path, CLOCK)


@pytest.mark.parametrize("step_s", [-3600, 432_000])
def test_a_step_of_the_clock_makes_no_collector_silent_and_hides_none_that_is(tmp_path: Path, step_s: float) -> None:
    clock = FakeClock()
    write(tmp_path, figures(written_at_ns=clock.now_ns(), written_monotonic_s=clock.monotonic(), up_s=65.0))
    clock.advance(2)
    clock.step(step_s)
    assert "up 0:01:05" in status_lines(health.read(tmp_path, clock), clock.now_ns(), 80)[0]
    clock.advance(60)
    with pytest.raises(ServiceUnavailable, match="last wrote its figures 62 s ago"):
        health.read(tmp_path, clock)


def test_figures_from_before_a_reboot_are_judged_by_their_date(tmp_path: Path) -> None:
    write(tmp_path, figures(written_at_ns=CLOCK.now_ns() - 60 * NS_PER_S, written_monotonic_s=CLOCK.monotonic() + 500.0))
    with pytest.raises(ServiceUnavailable, match="last wrote its figures 60 s ago"):
        health.read(tmp_path, CLOCK)


WHOLE = msgspec.json.encode(figures())
DAMAGED = [
    b"", b"{", b"[]", b"[[1]]", b"null", b"7", b'"text"', b"{}", WHOLE[:-1], WHOLE[: len(WHOLE) // 2], b"\0" * 4096,
    b"\xff\xfe{}", b"[" * 200_000, b'{"a":' * 200_000, WHOLE + b"x", msgspec.json.encode([figures()]),
    *(msgspec.json.encode(figures(**wrong)) for wrong in (
        {"pid": "1"}, {"pid": None}, {"pid": []}, {"pid": -1}, {"pid": 10**15}, {"written_at_ns": "now"}, {"written_at_ns": {}},
        {"started_at_ns": []}, {"venues": 5}, {"venues": [5]}, {"venues": [{}]}, {"venues": {"a": 1}}, {"sinks": [None]},
        {"sinks": [{"name": 1, "state": []}]}, {"journal": []}, {"journal": {"bytes": "many"}}, {"listing": [1]},
        {"recent": {"trades": {}}}, {"version": {}})),
    *(msgspec.json.encode(figures(venues=[figures()["venues"][0] | wrong])) for wrong in (
        {"exchange": None}, {"connections_up": "2"}, {"silent": 3}, {"refused": {"a": 1}}, {"lag_ms": []}, {"trades_per_s": "x"},
        {"gaps_open": [1]}, {"list_problem": 7}, {"problem": {}}, {"down_s": "x"})),
    WHOLE.replace(b"61.2", b"1e999999999"),
]


@pytest.mark.parametrize("content", DAMAGED, ids=range(len(DAMAGED)))
def test_a_damaged_file_is_one_message(tmp_path: Path, content: bytes) -> None:
    (tmp_path / health.FILE).write_bytes(content)
    with pytest.raises(health.DamagedFigures, match="not the figures of a collector") as raised:
        health.read(tmp_path, CLOCK)
    assert len(raised.value.message) < 400 and "\n" not in raised.value.message


@pytest.mark.parametrize("kind", ["folder", "pipe", "large", "forbidden"])
def test_a_path_that_is_not_a_file_of_figures_blocks_nobody(tmp_path: Path, kind: str) -> None:
    path = tmp_path / health.FILE
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "large":
        path.write_bytes(b" " * 20_000_000)
    else:
        path.symlink_to(path)
    with pytest.raises(health.DamagedFigures):
        health.read(tmp_path, CLOCK)


def test_commands_report_damaged_figures_in_one_line(tmp_path: Path, command: CommandLine) -> None:
    (tmp_path / "c.yaml").write_text(f"store: {{dir: {tmp_path}}}\nexchanges: {{}}\n", "utf-8")
    (tmp_path / health.FILE).write_bytes(b"[1, 2]")
    for arguments in ((), ("--json",), ("--line",)):
        done = command("status", "-c", str(tmp_path / "c.yaml"), *arguments)
        assert done.returncode == 69 and "not the figures of a collector" in done.stderr and "Traceback" not in done.stderr


def test_what_is_wrong_is_named_and_nothing_else() -> None:
    assert health.problems({}) == []
    good = figures(listing={"board": {"up": True}})
    for row in good["venues"]:
        row |= {"connections_up": 3, "list_problem": ""}
    assert health.problems(good) == []
    first, second, third = good["venues"]
    first |= {"connections_up": 0, "problem": "connection 0: refused\n" + "x" * 300}
    second |= {"connections": 0, "connections_up": 0, "list_problem": "HTTP 502"}
    third["list_problem"] = "it lacks 3 symbols"
    good["sinks"][0]["state"] = "down"
    good["listing"] = {"board": {"up": False, "reason": "HTTP 429"}}
    good["journal"]["dropped_trades"] = 5
    found = health.problems(good)
    assert found[0].startswith("alpha.spot: 0 of 3 connections are up, connection 0: refused xxx") and len(found[0]) < 250
    assert found[1:] == [
        "alpha.futures: nothing is read: no instrument list: HTTP 502",
        "beta.spot: its instrument list cannot be relied on: it lacks 3 symbols",
        "sink questdb: down, 17 trades behind", "listing board: down: HTTP 429",
        "memory: 5 trades were dropped because the disk could not store them; the gaps are recorded"]


@pytest.mark.parametrize(("behind", "wrong"), [(5, 0), (2_000_000, 1)])
def test_a_sink_that_catches_up_is_wrong_only_where_it_is_far_behind(behind: int, wrong: int) -> None:
    state = f"refilling {behind:,} trades"
    assert len(health.problems({"sinks": [{"name": "questdb", "state": state, "backlog_trades": behind}]})) == wrong


def test_the_minute_line_sums_up_each_exchange_and_the_stores() -> None:
    assert health.summary_line(figures()) == (
        "alpha: spot 2/3 + futures 2/3 up, 1,625 trades/s, lag 90 ms, gaps 2 | "
        "beta: spot 2/3 up, 812 trades/s, lag 61 ms, gaps 0 | journal backlog 4,321 | questdb up 17 behind")


def test_the_minute_line_of_a_collector_that_just_started_is_a_line() -> None:
    assert health.summary_line({}) == "journal backlog 0"


def test_brackets_in_a_sinks_own_words_are_shown_as_they_are(tmp_path: Path, command: CommandLine) -> None:
    words = "could not open [/db/trades~3/x.d] append [fd=12, errno=28]"
    write(tmp_path, figures(sinks=[{"name": "questdb", "state": words, "backlog_trades": 17}], written_at_ns=Clock().now_ns()))
    (tmp_path / "c.yaml").write_text(f"store: {{dir: {tmp_path}}}\n", "utf-8")
    done = command("status", "-c", str(tmp_path / "c.yaml"))
    assert "[/db/trades~3/x.d]" in done.stdout and "errno=28" in done.stdout and "Traceback" not in done.stderr
