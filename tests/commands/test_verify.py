"""`verify` as a person and a script meet it, without a time and with one."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from pumpwatch.clock import NS_PER_S
from pumpwatch.store.minutes import MINUTE_NS
from tests.commands.rendered import check_lines
from tests.commands.stored import stored
from tests.ops.command_line import CommandLine
from tests.ops.minute_folder import START_NS, SYMBOLS, MinuteFolder, gap, trades


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Five minutes of two symbols, in a folder whose collector has ended."""
    data = MinuteFolder(tmp_path / "data")
    data.watch(*SYMBOLS)
    data.store(*(trades(symbol, range(60 * minute, 60 * minute + 60)) for minute in range(5) for symbol in SYMBOLS),
               gaps=[gap(70, 71, symbol="AUSDT")])
    file = tmp_path / "c.yaml"
    file.write_text("store: {dir: data}\n", "utf-8")
    return file


def window(end: int = 4) -> tuple[str, ...]:
    return "--from", str(START_NS), "--to", str(START_NS + end * MINUTE_NS)


def test_verify_counts_each_file(command: CommandLine, tmp_path: Path) -> None:
    done = command("verify", "-c", stored(tmp_path / "a"))
    assert done.returncode == 0 and done.stderr == "1,000 trades read\n"
    assert [line.split()[1:] for line in check_lines(done.stdout.splitlines(), 80).splitlines()] == [
        ["where", "trades", "found", "state"], ["journal", "1,000", "1,000", "ok"]]


def test_with_a_time_every_minute_has_a_state(command: CommandLine, config: Path) -> None:
    done = command("verify", "-c", config, *window())
    assert done.returncode == 0
    lines = check_lines(done.stdout.splitlines(), 80).splitlines()
    assert lines[1].split() == ["venue", "complete", "filled", "gap", "quiet", "trades", "proof"]
    assert lines[2].split() == ["alpha.spot", "7", "0", "1", "0", "480", "connection"]
    assert lines[3] == "  worst: AUSDT 1 min" and lines[4] == "  1 min: connection lost"
    assert done.stderr.startswith("87.5 % of 8 minutes of symbols are complete, filled or quiet, 1 is in a gap; 0 contradictions")
    assert command("verify", "-c", config, *window(), "--fail-on-gaps").returncode == 1


def test_json_has_the_runs_of_chosen_symbols(command: CommandLine, config: Path) -> None:
    done = command("verify", "-c", config, *window(), "--symbol", "AUSDT", "--json")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["kind"] for row in rows] == ["window", "venue", "run", "run", "run"]
    assert [(row["state"], row["trades"], row["reason"]) for row in rows[2:]] == [
        ("complete", 60, ""), ("gap", 60, "connection lost"), ("complete", 120, "")]


def test_after_the_last_trade_of_a_collector_that_ended_all_is_a_gap(command: CommandLine, config: Path) -> None:
    done = command("verify", "-c", config, *window(8), "--quick", "--json")
    assert json.loads(done.stdout.splitlines()[1])["minutes"] == {
        "quiet": 0, "complete": 7, "filled": 0, "gap": 9, "unread": 0}, "the minute of its last trade is not whole"


def test_since_is_a_span_that_ends_now(command: CommandLine, config: Path) -> None:
    found = json.loads(command("verify", "-c", config, "--since", "90m", "--json").stdout.splitlines()[0])
    assert abs(found["to_ns"] - time.time_ns()) < 120 * NS_PER_S
    assert found["to_ns"] - found["from_ns"] == 89 * MINUTE_NS or found["to_ns"] - found["from_ns"] == 90 * MINUTE_NS


@pytest.mark.parametrize(("args", "message"), [
    (("--quick",), "these options need a time"), (("--since", "yesterday"), "is not a duration"),
    (("--since", "1h", "--from", "now"), "--since excludes"), (("--since", "1h", "--quick", "--sinks"), "exclude each other"),
    (("--since", "1h", "--exchange", "nowhere"), "no exchange"), (("--since", "1s"), "not hold a whole minute"),
    (("--from", "-900h", "--symbol", "AUSDT"), "too many")])
def test_what_cannot_be_meant_is_refused(command: CommandLine, config: Path, args: tuple[str, ...], message: str) -> None:
    done = command("verify", "-c", config, *args)
    assert done.returncode == 2 and message in done.stderr


def test_a_folder_without_data_cannot_be_verified(command: CommandLine) -> None:
    done = command("verify", "--since", "1h")
    assert done.returncode == 69 and "nothing is stored in" in done.stderr
