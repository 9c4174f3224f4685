"""`/metrics` of a running collector agrees with what the simulated venues sent, and its counters count on between two scrapes."""

from __future__ import annotations

import socket
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pumpwatch.ops.metrics import BY_NAME
from pumpwatch.sim.process import SimProcess
from tests.app.collector import CollectorProcess
from tests.ops.promtool import promtool

VENUES = ["binance.spot", "okx.futures", "kucoin.spot"]
Values = dict[tuple[str, ...], float]


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def scrape(port: int) -> Values:
    """Return every value by the metric's name and its labels' values, in the order of the metric's labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
        text = answer.read().decode()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {(one.name.removeprefix("pumpwatch_"), *(one.labels[label] for label in BY_NAME[one.name].labels)): one.value
            for one in samples}


def test_two_scrapes_agree_with_the_ground_truth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setenv("PUMPWATCH_API__LISTEN", f"127.0.0.1:{port}")
    with SimProcess(venues=VENUES, symbols=6, rate=600.0, paused=True, folder=str(tmp_path / "venues")) as sim, \
            CollectorProcess(sim, tmp_path) as collector:
        collector.wait_until_up()
        seen: list[Values] = []
        for _ in range(2):
            before = sum(row["trades_total"] for row in collector.figures()["venues"])
            sim.resume()
            collector.wait_until(lambda figures, before=before: sum(
                row["trades_total"] for row in figures["venues"]) > before + 1500)
            sim.pause()
            collector.wait_until_idle()
            truth, found = sim.truth(), scrape(port)
            sent = {name: len(truth.trades(name)) for name in VENUES}
            assert {name: found["trades_total", name] for name in VENUES} == sent
            assert found["durable_trades_total",] == sum(sent.values()) == found["recent_trades",]
            assert found["journal_backlog_trades",] == 0
            seen.append(found)
        cut = sim.fault("cut", venue="binance.spot")
        assert cut["connections"]
        collector.wait_until(lambda figures: any(
            row["name"] == "disconnects_total" and row["venue"] == "binance.spot" for row in figures["counters"]))
        collector.wait_until_up()
        after = scrape(port)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
            (tmp_path / "metrics.txt").write_bytes(answer.read())
        assert collector.stop() == 0
    linted = promtool("check", "metrics", folder=tmp_path, stdin=tmp_path / "metrics.txt")
    assert (linted.returncode, linted.stdout, linted.stderr) == (0, "", "")
    first, second = seen
    for key, value in first.items():
        if BY_NAME[f"pumpwatch_{key[0]}"].kind == "counter":
            assert second[key] >= value, key
    assert second["disconnects_total", "binance.spot"] == 0
    assert after["disconnects_total", "binance.spot"] == len(cut["connections"])
    assert after["disconnects_total", "okx.futures"] == 0
    assert after["gaps_recorded_total", "binance.spot", "open"] >= 1
    assert after["job_runs_total", "write"] > first["job_runs_total", "write"]
    assert all(after["venue_connections_up", name] == after["venue_connections", name] > 0 for name in VENUES)
    assert 0 < after["memory_used_ratio",] < 1 and after["open_files",] > 10 and 0 < after["disk_used_ratio",] <= 1
    assert abs(after["clock_offset_seconds",]) < 2  # the boards tell the time
