"""Figures are judged alike for the log, `doctor` and the health rows."""

from __future__ import annotations

from typing import Any

import pytest

from pumpwatch.ops.judgement import BEHIND, FAIL, LAG_MS, OK, PATIENCE_S, SHOWN, WARN, judge, judge_venue

GOOD: dict[str, Any] = {"exchange": "alpha", "market_type": "spot", "connections_up": 3, "connections": 3}


def judged(**changes: Any) -> list[tuple[str, str]]:
    return [(judgement.state, judgement.detail) for judgement in judge_venue(GOOD | changes)]


def test_a_venue_that_is_fully_read_has_no_judgement() -> None:
    assert judged() == []
    assert list(judge({"venues": [GOOD], "sinks": [{"name": "shelf", "state": "up"}], "listing": {"board": {"up": True}}})) == []


@pytest.mark.parametrize(("down_s", "severity"), [(PATIENCE_S, WARN), (PATIENCE_S + 1, FAIL)])
def test_a_lost_connection_becomes_a_failure_when_it_does_not_come_back(down_s: float, severity: str) -> None:
    assert judged(connections_up=2, down_s=down_s, problem="connection 1: cut") == [
        (severity, "2 of 3 connections are up, connection 1: cut")]


def test_a_venue_without_an_instrument_list_fails_with_the_reason() -> None:
    assert judged(connections=0, connections_up=0, list_problem="HTTP 502") == [
        (FAIL, "nothing is read: no instrument list: HTTP 502")]


def test_a_venue_that_lists_none_of_the_chosen_coins_is_a_warning_however_long_ago_it_began() -> None:
    lacks = {"connections": 0, "connections_up": 0, "down_s": 1e6, "no_coin_listed": True}
    assert judged(**lacks) == [(WARN, "nothing is read: none of the chosen coins is listed")]
    assert [severity for severity, _ in judged(**lacks, list_problem="HTTP 502")] == [WARN, WARN]


def test_silent_symbols_are_named_up_to_a_few() -> None:
    names = [f"S{number}" for number in range(SHOWN + 1)]
    ((severity, text),) = judged(silent=names)
    assert severity == WARN
    assert text.endswith(f"{', '.join(names[:SHOWN])}, ...")


def test_trades_that_arrive_late_are_a_warning_above_the_limit() -> None:
    assert judged(lag_ms=LAG_MS) == []
    assert judged(lag_ms=LAG_MS + 100) == [(WARN, "trades arrive 5.1 s late")]


@pytest.mark.parametrize(("state", "behind", "severity"), [
    ("down", 0, FAIL), ("refilling 5 trades", 5, OK), ("refilling 2,000,000 trades", BEHIND + 1, WARN), ("up", BEHIND + 1, WARN)])
def test_a_sink_that_catches_up_is_fine_and_one_that_is_down_fails(state: str, behind: int, severity: str) -> None:
    (judgement,) = judge({"sinks": [{"name": "shelf", "state": state, "backlog_trades": behind}]})
    assert (judgement.name, judgement.state) == ("sink shelf", severity)


def test_a_sink_that_a_roll_out_gives_nothing_yet_is_not_a_failure() -> None:
    assert list(judge({"sinks": [{"name": "shelf", "state": "off", "backlog_trades": BEHIND + 1}]})) == []


def test_every_judgement_has_a_hint() -> None:
    bad = {"connections_up": 1, "silent": ["A"], "lag_ms": 9000.0, "list_problem": "x"}
    status = {"venues": [GOOD | {"connections": 0}, GOOD | bad],
              "sinks": [{"name": "shelf", "state": "down"}, {"name": "other", "state": "refilling"}],
              "listing": {"board": {"up": False, "reason": "HTTP 429"}}, "journal": {"dropped_trades": 5}}
    found = list(judge(status))
    assert len(found) == 9
    assert all(judgement.hint for judgement in found)


def test_a_channel_that_takes_no_message_is_a_warning() -> None:
    channels = [{"name": "phone", "up": False, "reason": "it answers HTTP 500"}, {"name": "hook", "up": True}]
    assert [(found.name, found.state, found.detail) for found in judge({"notify": channels})] == [
        ("notify phone", WARN, "does not accept messages: it answers HTTP 500")]


def disk(level: str, days_left: float | None, name: str = "store") -> dict[str, object]:
    return {"name": name, "folder": "/data", "used_share": 0.9, "free_bytes": 10**9, "level": level, "days_left": days_left}


@pytest.mark.parametrize(("level", "days_left", "severity"), [
    ("ok", None, []), ("clean_up", 30.0, []), ("ok", 2.9, [WARN]), ("emergency", None, [WARN]), ("full", 0.1, [FAIL])])
def test_a_disk_is_judged_by_its_level_and_by_the_days_left(level: str, days_left: float | None, severity: list[str]) -> None:
    found = list(judge({"disk": {"disks": [disk("ok", None), disk(level, days_left, "questdb")]}}))
    assert [judgement.state for judgement in found] == severity
    assert all(judgement.name == "disk questdb" and "/data" in judgement.hint for judgement in found)


def test_memory_above_its_limit_is_a_warning_and_fewer_recent_trades_are_not() -> None:
    figures = {"rss_bytes": 700_000_000, "limit_bytes": 600_000_000}
    assert list(judge({"memory": figures | {"level": "shrunk"}})) == []
    (found,) = judge({"memory": figures | {"level": "above"}})
    assert (found.state, found.detail) == (WARN, "700 MB are used, more than the limit of 600 MB")


def test_a_venue_that_other_collectors_read_is_well() -> None:
    row = {"exchange": "a", "market_type": "spot", "connections": 0, "instruments": 0}
    assert list(judge_venue({**row, "elsewhere": 20})) == []
    assert [finding.state for finding in judge_venue(row)] == [WARN]
