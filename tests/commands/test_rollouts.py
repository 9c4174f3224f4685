"""`pumpwatch rollout` and `bench-sink`, as a person calls them."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

import pytest
import yaml

from pumpwatch.cli import run
from pumpwatch.commands import rollouts
from pumpwatch.errors import EXIT_CONFIG, EXIT_DISK, EXIT_FOUND, EXIT_OK, EXIT_UNAVAILABLE, EXIT_USAGE
from pumpwatch.rollout.request import take_requests
from pumpwatch.rollout.state import FILE, RolloutChange, RolloutState, write_state


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "pumpwatch.yaml"
    (tmp_path / "data").mkdir()
    file.write_text(yaml.safe_dump({"store": {"dir": str(tmp_path / "data")}, "sinks": {"questdb": {"addr": "127.0.0.1:1"}},
                                    "rollout": {"sink": "questdb"}}))
    return file


def write_figures(folder: Path) -> None:
    """Let this process look like a collector that runs on a folder."""
    (folder / "status.json").write_text(json.dumps(
        {"pid": os.getpid(), "written_at_ns": time.time_ns(), "written_monotonic_s": time.monotonic(), "venues": []}))


def state(**facts: object) -> RolloutState:
    changes = [RolloutChange(at_ns=10**18, status="running", percent=10, reason="asked for")]
    return RolloutState(sink="questdb", changes=changes, **{"status": "running", "percent": 10, **facts})  # type: ignore[arg-type]


def test_a_roll_out_that_has_not_begun_is_shown_as_such(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["rollout", "-c", str(config)]) == EXIT_OK
    out, words = capsys.readouterr()
    assert "questdb: waiting, 0 % of the instruments" in out and "no collector runs" in words


def test_the_state_is_shown_as_a_table_and_as_json(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = state(ran_s=7200.0)
    for ms in (5.0, 7.0):
        shown.answers.add(ms)
    write_state(config.parent / "data", shown)
    assert run(["rollout", "-c", str(config)]) == EXIT_OK
    out = capsys.readouterr().out
    assert "running, for 2.0 h" in out and "differences: none" in out and "2001-09-09 01:46:40" in out
    assert run(["rollout", "--json", "-c", str(config)]) == EXIT_OK
    row = json.loads(capsys.readouterr().out)
    assert (row["percent"], row["queries"], row["mean_ms"]) == (10, 2, 6.0)


def test_differences_and_a_roll_back_are_findings(config: Path) -> None:
    shown = state()
    shown.answers.differences["doubled"] = 1
    write_state(config.parent / "data", shown)
    assert run(["rollout", "-c", str(config)]) == EXIT_FOUND
    write_state(config.parent / "data", state(status="rolled back"))
    assert run(["rollout", "-c", str(config)]) == EXIT_FOUND


def test_a_damaged_state_is_named(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (config.parent / "data" / FILE).write_text("{")
    assert run(["rollout", "-c", str(config)]) == EXIT_DISK
    assert "the state of the roll-out cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize("action", ["start", "pause", "advance", "back"])
def test_without_a_collector_nothing_is_asked_for(config: Path, action: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["rollout", action, "-c", str(config)]) == EXIT_UNAVAILABLE
    assert "no collector runs on" in capsys.readouterr().err
    assert not take_requests(config.parent / "data")


def test_a_config_without_a_roll_out_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "other.yaml"
    file.write_text("store: {dir: data}\n")
    assert run(["rollout", "-c", str(file)]) == EXIT_USAGE
    assert run(["rollout", "-c", str(file), "start"]) == EXIT_USAGE
    assert "does not roll out a sink" in capsys.readouterr().err
    file.write_text("rollout: {sink: questdb}\n")
    assert run(["rollout", "-c", str(file)]) == EXIT_CONFIG


@pytest.mark.parametrize(("refusal", "code"), [("", EXIT_OK), ("it is running already", EXIT_USAGE)])
def test_a_request_waits_for_the_answer_of_the_collector(config: Path, refusal: str, code: int,
                                                         capsys: pytest.CaptureFixture[str]) -> None:
    folder = config.parent / "data"
    write_figures(folder)

    def collector() -> None:
        deadline = time.monotonic() + 30
        while not (taken := take_requests(folder)) and time.monotonic() < deadline:
            time.sleep(0.01)
        ((number, request),) = taken
        write_state(folder, state(answered={number: refusal}, reason=request.reason))

    answering = threading.Thread(target=collector)
    answering.start()
    assert run(["rollout", "start", "--reason", "a try", "-c", str(config)]) == code
    answering.join()
    out, words = capsys.readouterr()
    assert refusal in words if refusal else "questdb: running, 10 %" in out


def test_a_collector_that_takes_no_request_is_named(config: Path, monkeypatch: pytest.MonkeyPatch,
                                                    capsys: pytest.CaptureFixture[str]) -> None:
    write_figures(config.parent / "data")
    monkeypatch.setattr(rollouts, "ANSWERED_WITHIN_S", 0.2)
    assert run(["rollout", "-c", str(config), "pause"]) == EXIT_UNAVAILABLE
    assert "did not answer within" in capsys.readouterr().err


@pytest.mark.parametrize(("words", "said"), [
    (["other"], "the config has no sink 'other'"), (["--rate", "0"], "neither `burst` nor a number"),
    (["--rate", "fast"], "neither `burst` nor a number")])
def test_a_bench_of_what_cannot_be_is_wrong_usage(config: Path, words: list[str], said: str,
                                                  capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench-sink", *words, "-c", str(config)]) == EXIT_USAGE
    assert said in capsys.readouterr().err


def test_a_bench_of_a_server_that_is_away_says_so(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench-sink", "--rate", "10", "--seconds", "1", "-c", str(config)]) == EXIT_UNAVAILABLE
    assert "writes 10 made-up trades" in capsys.readouterr().err


def test_a_bench_without_a_sink_says_how_to_configure_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "without.yaml"
    file.write_text(f"store: {{dir: {tmp_path / 'data'}}}\n")
    assert run(["bench-sink", "-c", str(file)]) == EXIT_USAGE
    assert "sinks: {questdb: {addr: 127.0.0.1:9000}}" in " ".join(capsys.readouterr().err.split())
