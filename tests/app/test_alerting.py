"""A collector tells each alert once, keeps it over a restart, and begins and ends it by what really happens."""

from __future__ import annotations

import json
import logging
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from pumpwatch.app.alerting import Alerting
from pumpwatch.app.collector import Collector
from pumpwatch.clock import FakeClock
from pumpwatch.ops.alert_file import FILE, read_alerts
from pumpwatch.sim.process import SimProcess
from tests.app.collector import CollectorProcess
from tests.notify.told import wait_for
from tests.questdb_server import QuestDBServer


class Told:
    """A notifier that only keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def notify(self, make: Any) -> None:
        self.events.append(make())

    def status(self) -> list[dict[str, Any]]:
        return []


def with_sink_down(collector: Collector, clock: FakeClock) -> tuple[Alerting, Told]:
    """Return the alerting of a collector whose one sink is down, and who is told."""
    told = Told()
    collector.clock = clock
    collector.notifying.notifier = told  # type: ignore[assignment]
    collector.drains = {"odd": type("Down", (), {"state": "down", "lag_rows": 7})()}  # type: ignore[dict-item]
    alerting = Alerting(collector, collector.status)
    alerting.load()
    collector.alerting = alerting
    return alerting, told


def look_for(alerting: Alerting, clock: FakeClock, seconds: int) -> None:
    for _ in range(seconds // 15):
        alerting.look()
        clock.advance(15)


def test_an_alert_is_logged_kept_shown_and_told_once_when_it_begins_and_once_when_it_ends(
        collector: Collector, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    clock = FakeClock()
    alerting, told = with_sink_down(collector, clock)
    look_for(alerting, clock, 300)
    assert [(event.state, event.name, event.subject) for event in told.events] == [("began", "SinkDown", "odd")]
    assert [alert.name for alert in read_alerts(tmp_path).standing] == ["SinkDown"]
    assert [row["subject"] for row in collector.status.now()["active_alerts"]] == ["odd"]
    collector.drains["odd"].state = "up"  # type: ignore[misc]
    look_for(alerting, clock, 300)
    assert [event.state for event in told.events] == ["began", "ended"]
    assert read_alerts(tmp_path).standing == [] and collector.status.now()["active_alerts"] == []
    assert caplog.text.count("alert begins name=SinkDown subject=odd") == 1
    assert caplog.text.count("alert ends name=SinkDown subject=odd") == 1


def test_a_restart_tells_nothing_again_and_names_what_a_kill_may_have_left_untold(collector: Collector) -> None:
    clock = FakeClock()
    alerting, told = with_sink_down(collector, clock)
    began_ns = clock.now_ns()
    look_for(alerting, clock, 300)
    again, told_again = with_sink_down(collector, clock)
    look_for(again, clock, 600)
    assert told_again.events == []
    (event,) = [make() for make in again.events(began_ns)]
    assert event.id == told.events[0].id
    assert again.events(clock.now_ns()) == []
    collector.drains["odd"].state = "up"  # type: ignore[misc]
    look_for(again, clock, 600)
    assert [event.state for event in told_again.events] == ["ended"]
    assert [make().state for make in again.events(began_ns)] == ["began", "ended"]


def test_a_disk_that_does_not_take_the_file_holds_up_no_message(
        collector: Collector, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / FILE).with_suffix(".new").mkdir()
    clock = FakeClock()
    alerting, told = with_sink_down(collector, clock)
    look_for(alerting, clock, 300)
    assert len(told.events) == 1
    assert caplog.text.count("alerts not stored") == 1


def test_a_damaged_file_is_logged_and_the_alerts_begin_again(
        collector: Collector, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / FILE).write_text("{")
    clock = FakeClock()
    alerting, told = with_sink_down(collector, clock)
    look_for(alerting, clock, 300)
    assert "alerts of an earlier run not known" in caplog.text and len(told.events) == 1


def events_in(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()] if file.exists() else []


def test_a_venue_that_falls_silent_begins_an_alert_over_a_kill_and_its_trades_end_it(tmp_path: Path) -> None:
    """The venue answers pings and sends no trade. The times are the shortest ones, as nobody waits two minutes here."""
    log_file = tmp_path / "told.jsonl"
    append = f"import sys; open({str(log_file)!r}, 'a').write(sys.stdin.read())"
    with SimProcess(venues=["binance.spot", "okx.spot"], symbols=4, rate=400.0, folder=str(tmp_path / "venues")) as sim:
        collector = CollectorProcess(
            sim, tmp_path, alerts={"interval_s": 0.5, "venue_silent": 3.0, "keep_s": 1.0}, notify={
                "program": {"command": [sys.executable, "-S", "-c", append], "events": ["alert"]}})
        with collector:
            collector.wait_until_up()
            sim.fault("silence", venue="binance.spot", seconds=3600.0)
            figures = collector.wait_until(lambda figures: "VenueSilent" in names(figures))
            assert [row["subject"] for row in figures["active_alerts"] if row["name"] == "VenueSilent"] == ["binance.spot"]
            wait_for(lambda: [event["state"] for event in silences(log_file)] == ["began"])
            collector.kill(signal.SIGKILL)
            collector.start()
            collector.wait_until(lambda figures: "VenueSilent" in names(figures))
            collector.wait_until_up()  # the simulator's new connections send trades again
            collector.wait_until(lambda figures: "VenueSilent" not in names(figures), within_s=180.0)
            wait_for(lambda: [event["state"] for event in silences(log_file)] == ["began", "ended"])
            assert collector.stop() == 0
    began, ended = silences(log_file)
    assert (began["subject"], began["severity"], began["kind"]) == ("binance.spot", "critical", "alert")
    assert ended["began_at_ns"] == began["began_at_ns"] < ended["ended_at_ns"]
    assert began["value"] > 3.0 and began["runbook"] == "docs/runbook.md#venuesilent"


def names(figures: dict[str, Any]) -> set[str]:
    return {row["name"] for row in figures["active_alerts"]}


def silences(file: Path) -> list[dict[str, Any]]:
    return told_of(file, "VenueSilent")


def test_a_suspended_table_is_told_once_when_it_begins_and_once_when_a_person_resumed_it(
        tmp_path: Path, questdb_server: QuestDBServer) -> None:
    log_file = tmp_path / "told.jsonl"
    append = f"import sys; open({str(log_file)!r}, 'a').write(sys.stdin.read())"
    sink = {"addr": questdb_server.addr, "table_prefix": "alerted_", "candles": False}
    with SimProcess(venues=["binance.spot"], symbols=4, rate=200.0, folder=str(tmp_path / "venues")) as sim, CollectorProcess(
            sim, tmp_path, sinks={"questdb": sink}, alerts={"interval_s": 0.5, "sink_suspended": 1.0, "keep_s": 1.0}, notify={
                "program": {"command": [sys.executable, "-S", "-c", append], "events": ["alert"]}}) as collector:
        collector.wait_until(lambda figures: figures["sinks"][0]["state"] == "up")
        questdb_server.await_count(100, "alerted_trades")
        questdb_server.suspend("alerted_trades")
        collector.wait_until(lambda figures: "SinkSuspended" in names(figures))
        wait_for(lambda: [event["state"] for event in told_of(log_file, "SinkSuspended")] == ["began"])
        questdb_server.sql("ALTER TABLE alerted_trades RESUME WAL")
        collector.wait_until(lambda figures: "SinkSuspended" not in names(figures), within_s=180.0)
        wait_for(lambda: len(told_of(log_file, "SinkSuspended")) == 2)
        assert collector.stop() == 0
    assert [(event["state"], event["subject"], event["severity"]) for event in told_of(log_file, "SinkSuspended")] == [
        ("began", "questdb", "critical"), ("ended", "questdb", "critical")]


def told_of(file: Path, name: str) -> list[dict[str, Any]]:
    return [event for event in events_in(file) if event["name"] == name]
