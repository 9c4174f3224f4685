"""`pumpwatch db status`, as a person calls it."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
import yaml

from pumpwatch.cli import run
from pumpwatch.errors import EXIT_OK, EXIT_UNAVAILABLE
from tests.redis_server import RedisNode


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "data" / "journal").mkdir(parents=True)
    (tmp_path / "data" / "journal" / "20261127T20-000.sqlite").write_bytes(bytes(2_000_000))
    return tmp_path / "data"


def config(data: Path, **sinks: object) -> str:
    file = data.parent / "pumpwatch.yaml"
    file.write_text(yaml.safe_dump({"store": {"dir": str(data)}, "sinks": sinks}))
    return str(file)


def test_without_a_sink_and_a_collector_the_files_are_shown(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["db", "status", "-c", config(data)]) == EXIT_OK
    out, err = capsys.readouterr()
    assert out.splitlines()[1].split()[:5] == ["journal", "up", "2.0", "MB", "1"] and "times are not known" in err


def test_a_server_that_is_away_is_named_with_the_reason(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["db", "status", "--json", "-c", config(data, questdb={"addr": "127.0.0.1:1"})]) == EXIT_UNAVAILABLE
    journal, sink = map(json.loads, capsys.readouterr().out.splitlines())
    assert (journal["works"], journal["size_bytes"], journal["parts"]) == (True, 2_000_000, 1)
    assert not sink["works"] and "QuestDB at 127.0.0.1:1 does not answer" in sink["state"] and sink["size_bytes"] is None


def test_the_times_of_the_running_collector_are_shown(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call = {"operation": "write", "total": 1234, "failed": 5, "running": 1, "seconds": 1.5, "p50_ms": 1.25, "p99_ms": 9.0,
            "errors": {"ServiceUnavailable": 5}}
    (data / "status.json").write_text(json.dumps({
        "pid": os.getpid(), "written_at_ns": time.time_ns(), "written_monotonic_s": time.monotonic(), "venues": [],
        "sinks": [{"name": "questdb", "state": "down", "calls": [call]}]}))
    run(["db", "status", "-c", config(data, questdb={"addr": "127.0.0.1:1"})])
    assert "questdb  write      1,234       5        1     1.2     9.0" in capsys.readouterr().out


def test_redis_has_a_row_and_its_calls(data: Path, single_redis: RedisNode, capsys: pytest.CaptureFixture[str]) -> None:
    call = {"operation": "read book", "total": 7, "failed": 0, "running": 0, "seconds": 0.1, "p50_ms": 0.25, "p99_ms": 0.5,
            "errors": {}}
    (data / "status.json").write_text(json.dumps({
        "pid": os.getpid(), "written_at_ns": time.time_ns(), "written_monotonic_s": time.monotonic(), "venues": [], "sinks": [],
        "redis": {"calls": [call]}}))
    file = Path(config(data))
    file.write_text(file.read_text() + f"redis: {{nodes: ['{single_redis.address}']}}\n")
    assert run(["db", "status", "-c", str(file)]) == EXIT_OK
    out = capsys.readouterr().out
    assert "redis" in out and "Redis 7." in out and "read book" in out
