"""trades, decode, titles: the last trades in a table, all of them as JSON and CSV."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.commands.rendered import check_lines
from tests.commands.stored import LONG_AGO, stored
from tests.ops.command_line import CommandLine


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return stored(tmp_path)


@pytest.mark.parametrize("width", ["80", "120"])
def test_the_last_trades_are_a_line_each(command: CommandLine, config: Path, width: str) -> None:
    done = command("trades", "C1", "--from", LONG_AGO, "--limit", "5", "-c", config, env={"COLUMNS": width})
    lines = done.stdout.splitlines()
    check_lines(lines, int(width))
    whole = [json.loads(line) for line in command("trades", "c1", "--from", LONG_AGO, "--json", "-c", config).stdout.splitlines()]
    assert lines[0] == f"C1: the last 5 of {len(whole)} trades, 2023-11-14 UTC"
    assert len(lines) == 7 and ("2023-11-14 22:13" in lines[2]) == (width == "120")
    if width == "120":
        assert [line.split()[-1] for line in lines[2:]] == [trade["trade_id"] for trade in whole[-5:]]


def test_a_table_has_forty_trades_and_json_and_csv_have_all_or_the_last(command: CommandLine, config: Path) -> None:
    words = ("trades", "C1", "--from", LONG_AGO, "-c", config)
    assert len(command(*words).stdout.splitlines()) == 42
    assert len(command(*words, "--limit", "90").stdout.splitlines()) == 92
    csv = command(*words, "--csv").stdout.splitlines()
    assert len(csv) > 200 and command(*words, "--csv", "--limit", "3").stdout.splitlines() == [csv[0], *csv[-3:]]
    rows = [json.loads(line) for line in command(*words, "--json", "--limit", "2").stdout.splitlines()]
    assert len(rows) == 2 and list(rows[0]) == [
        "exchange", "market_type", "symbol", "side", "price", "quantity", "trade_id", "sequence_number", "timestamp",
        "received_at", "flags"]


def test_a_limit_above_what_is_found_shows_every_trade(command: CommandLine, config: Path) -> None:
    words = ("trades", "C1", "--from", LONG_AGO, "-c", config)
    found = len(command(*words, "--json").stdout.splitlines())
    lines = command(*words, "--limit", found + 1).stdout.splitlines()
    assert found > 40 and lines[0].startswith(f"C1: {found} trades") and len(lines) == found + 2


def test_a_coin_that_is_not_stored_is_answered_with_those_that_are(command: CommandLine, config: Path) -> None:
    done = command("trades", "C11", "-c", config)
    assert done.returncode == 0 and done.stdout == "" and "no coin of this name is stored" in done.stderr and "C1" in done.stderr


@pytest.mark.parametrize(("words", "says"), [
    (("--json", "--csv"), "choose one"), (("--from", "now", "--to", "-5m"), "--from is after --to"),
    (("--follow", "--csv"), "--follow excludes --csv, --parquet and --to"), (("-f", "--to", "now"), "--follow excludes")])
def test_options_that_exclude_each_other_are_refused(command: CommandLine, words: tuple[str, ...], says: str) -> None:
    done = command("trades", "C1", *words)
    assert done.returncode == 2 and says in done.stderr


def test_follow_shows_the_last_trades_and_then_the_new_ones(
        command: CommandLine, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[float] = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("pumpwatch.commands.repeat.time.sleep", sleep)
    done = command("trades", "C1", "--follow", "--from", LONG_AGO, "--limit", "3", "-c", config)
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 4 and len(looks) == 2


def test_follow_says_which_sink_does_not_answer(
        command: CommandLine, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pumpwatch.commands.repeat.time.sleep", stop)
    done = command("trades", "C1", "--follow", "--from", LONG_AGO, "-c", config,
                   env={"PUMPWATCH_SINKS__QUESTDB__ADDR": "127.0.0.1:1"})
    (line,) = [line for line in done.stderr.splitlines() if "questdb" in line]
    assert "0 trades in " in line and len(done.stdout.splitlines()) == 11 and "journal:" not in done.stderr


def test_titles_and_frames_that_cannot_be_read_are_one_message(command: CommandLine) -> None:
    assert "nowhere: cannot be read" in command("decode", "bybit.spot", "nowhere").stderr
    done = command("titles", "--source", "upbti")
    assert done.returncode == 2 and "did you mean `upbit`?" in done.stderr


def test_init_symbols_without_a_network_is_a_line_a_venue(command: CommandLine, tmp_path: Path) -> None:
    closed = "".join(f"  {name}: {{spot: {{rest_url: 'https://127.0.0.1:1/{'x' * 150}'}}, futures: {{enabled: false}}}}\n"
                     for name in ("okx", "gate"))
    (tmp_path / "c.yaml").write_text(f"exchanges:\n{closed}", "utf-8")
    done = command("init-symbols", "-c", "c.yaml")
    lines = done.stderr.splitlines()
    assert done.returncode == 69 and max(map(len, lines)) <= 200
    assert sorted(line.split(":")[0] for line in lines[:2]) == ["gate.spot", "okx.spot"]
    assert lines[2] == "pumpwatch: no venue gave its list of symbols"
