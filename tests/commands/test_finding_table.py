"""Findings: a problem has its words and its hint, passed checks of one kind are one row."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pumpwatch.commands.finding_table import FINDINGS, finding_rows, summed_up
from pumpwatch.commands.table import render
from pumpwatch.findings import FAIL, OK, UNREACHABLE, Finding
from pumpwatch.ops import preflight
from tests.commands.rendered import check_lines
from tests.ops.command_line import CommandLine

FOUND = [Finding("python", "ok", "3.11.2", "", None), Finding("okx.futures WebSocket", "unreachable",
         "wss://ws.okx.com:8443/ws/v5/business: no answer: [Errno -2] Name or service not known", "is the network there?", 271.0)]


def test_a_finding_whose_words_have_no_room_has_them_below() -> None:
    lines = render(FINDINGS, finding_rows(FOUND, 80), 80)
    check_lines(lines, 80)
    assert [" ".join(line.split()) for line in lines] == [
        "what state found ms", "python ok 3.11.2", "okx.futures WebSocket unreachable 271",
        "wss://ws.okx.com:8443/ws/v5/business: no answer: [Errno -2] Name or service", "not known", "is the network there?"]


def test_a_finding_whose_words_have_room_is_a_line() -> None:
    lines = render(FINDINGS, finding_rows(FOUND, 140), 140)
    assert len(lines) == 4 and lines[2].endswith("service not known  271")


VENUES = ("binance.spot", "okx.futures", "gate.spot")
WELL = [Finding("config", OK, "every key is known"), Finding("plugins", OK, "okx"), Finding("sinks.questdb", OK, "known"),
        Finding("data folder", OK, "/data is writable"), Finding("clock", OK, "2026-01-02 03:04:05 UTC"),
        *(Finding(f"{venue} {protocol}", OK, f"{venue} answers", ms=ms)
          for ms, venue in enumerate(VENUES, 10) for protocol in ("REST", "WebSocket")),
        Finding("listing upbit", OK, "it answers HTTP 200", ms=50.0), Finding("collector", OK, "12/12 up"),
        Finding("journal", OK, "2 segments"), Finding("journal", OK, "1 of 2 was not read", "`pumpwatch verify` reads all")]


def test_passed_checks_of_one_kind_are_one_row_and_one_alone_keeps_its_words() -> None:
    assert [(row.name, row.detail, row.ms) for row in summed_up(WELL)] == [
        ("config", "config, plugins, sinks.questdb", None), ("machine", "data folder, clock", None),
        ("REST", "3 of 3 answer, the slowest is gate.spot", 12.0), ("WebSocket", "3 of 3 answer, the slowest is gate.spot", 12.0),
        ("listing upbit", "it answers HTTP 200", 50.0), ("collector", "12/12 up", None), ("journal", "2 segments", None),
        ("journal", "1 of 2 was not read", None)]


def test_each_problem_keeps_its_row_and_its_hint_beside_what_passed() -> None:
    wrong = [replace(finding, state=UNREACHABLE, detail="no answer", hint="is the network there?")
             if finding.name == "okx.futures REST" else finding for finding in WELL]
    rows = summed_up([*wrong, Finding("clock sync", FAIL, "it says 1970", "set it")])
    assert [row for row in rows if row.state != OK] == [row for row in [*wrong, rows[-1]] if row.state != OK]
    assert next(row.detail for row in rows if row.name == "REST").startswith("2 of 3 answer")


def test_doctor_sums_up_what_passed_and_all_and_json_have_every_check(
        tmp_path: Path, command: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "check", lambda config, connect: WELL)  # it would connect to every configured service
    there = {"PUMPWATCH_STORE__DIR": str(tmp_path / "data")}
    brief, whole = command("doctor", env=there), command("doctor", "--all", env=there)
    assert (brief.returncode, whole.returncode) == (0, 0)
    check_lines(brief.stdout.splitlines(), 80)
    assert "okx.futures REST" in whole.stdout and "okx.futures REST" not in brief.stdout
    assert brief.stdout.splitlines()[-1] == "16 ok; --all shows each passed check in its own row"
    assert whole.stdout.splitlines()[-1] == "16 ok"
    as_json = [json.loads(line)["name"] for line in command("doctor", "--json", env=there).stdout.splitlines()]
    assert as_json == [*(finding.name for finding in WELL), "data"]
