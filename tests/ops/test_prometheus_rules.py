"""The rules of Prometheus are those of the code: promtool accepts them, and each begins and ends when it should."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pumpwatch.ops.alert_rules import OUTSIDE, RULES
from pumpwatch.ops.metrics import BY_NAME, METRICS
from pumpwatch.ops.prometheus_rules import expression, rules, rules_file
from tests.ops.promtool import ROOT, check_expressions, check_timing, promtool

FILE = ROOT / "packaging" / "prometheus" / "alerts.yml"
BOARD = json.loads((ROOT / "packaging" / "grafana" / "pumpwatch.json").read_text("utf-8"))
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text("utf-8")
NAME = re.compile(r"\bpumpwatch_\w+")


def test_promtool_accepts_the_rules(tmp_path: Path) -> None:
    (tmp_path / FILE.name).write_bytes(FILE.read_bytes())
    done = promtool("check", "rules", FILE.name, folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(RULES) + len(OUTSIDE)} rules found" in done.stdout


def test_each_rule_begins_after_its_time_and_ends_after_its_own(tmp_path: Path) -> None:
    done = check_timing(FILE.read_text("utf-8"), tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("SUCCESS") == len(RULES) + len(OUTSIDE)


@pytest.mark.parametrize(("name", "right", "wrong"), [
    ("VenueSilent", "pumpwatch_venue_silent_seconds > 120", "pumpwatch_venue_silent_seconds > 130"),
    ("DiskFilling", "keep_firing_for: 5m", "keep_firing_for: 1m"),
    ("SinkDown", "pumpwatch_sink_up == 0", "pumpwatch_sink_up == 1")])
def test_a_wrong_rule_fails_these_tests(tmp_path: Path, name: str, right: str, wrong: str) -> None:
    content = FILE.read_text("utf-8")
    assert right in content
    done = check_timing(content.replace(right, wrong), tmp_path, name)
    assert done.returncode != 0 and "FAILED" in done.stdout + done.stderr


def test_the_file_is_made_from_the_code_and_links_every_alert_to_its_section_of_the_runbook() -> None:
    assert FILE.read_text("utf-8") == rules_file()
    found = rules()["groups"][0]["rules"]
    assert [rule["alert"] for rule in found] == [*(rule.name for rule in RULES), *OUTSIDE]
    headings = re.findall(r"^## (\w+)$", RUNBOOK, re.MULTILINE)
    assert sorted(headings) == sorted(rule["alert"] for rule in found)
    for rule in found:
        said = rule["annotations"]
        assert said["runbook_url"] == f"docs/runbook.md#{rule['alert'].lower()}"
        assert said["summary"] and said["description"] and rule["labels"]["severity"] in ("info", "warning", "critical")


def test_a_label_is_only_said_of_a_metric_that_has_it() -> None:
    for rule in RULES:
        named = set(re.findall(r"{(\w+)}", rule.summary + rule.says)) - {"value"}
        assert named <= set(rule.metric.labels), rule.name
        assert set(rule.where) <= set(rule.metric.labels), rule.name


def test_a_condition_with_labels_and_one_about_growth_in_promql() -> None:
    by_name = {rule.name: rule for rule in RULES}
    assert expression(by_name["GapLost"], 1.0) == 'delta(pumpwatch_gaps{state="lost"}[15m]) >= 1'
    assert expression(by_name["JournalBacklogGrowing"], 1e5) == (
        "pumpwatch_journal_backlog_trades > 100000 and delta(pumpwatch_journal_backlog_trades[10m]) > 0")
    assert expression(by_name["ClockDrift"], 2.0) == "abs(pumpwatch_clock_offset_seconds) > 2"


def queries() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every query of the board, with its target."""
    for panel in BOARD["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"], target


def test_the_board_asks_for_metrics_and_labels_that_exist() -> None:
    assert len(list(queries())) > 30
    for text, target in queries():
        names = NAME.findall(text)
        assert names and set(names) <= BY_NAME.keys(), text
        known = {label for name in names for label in BY_NAME[name].labels}
        listed = re.findall(r"(?:by|without|on|ignoring) \(([^)]*)\)", text)
        chosen = set(re.findall(r'(\w+)\s*(?:=~|!~|!=|=)\s*"', text))
        chosen |= {label for part in listed for label in re.split(r",\s*", part)}
        assert chosen <= known, text
        assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= known, text
        for inside in re.findall(r"\b(?:rate|increase)\((\w+)", text):
            assert BY_NAME[inside].kind == "counter", text
    for variable in BOARD["templating"]["list"]:
        if variable["type"] == "query":
            metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["definition"]).groups()  # type: ignore[union-attr]
            assert label in BY_NAME[metric].labels


def test_promtool_parses_every_query_of_the_board(tmp_path: Path) -> None:
    texts = [text.replace("$venue", ".*") for text, _ in queries()]
    done = check_expressions(texts, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    broken = check_expressions([*texts, "rate(pumpwatch_trades_total[1m)"], tmp_path)
    assert broken.returncode != 0


def test_no_two_panels_are_at_the_same_place() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken and at["x"] + at["w"] <= 24, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])


def test_the_board_shows_metrics_of_every_part() -> None:
    shown = {name for text, _ in queries() for name in NAME.findall(text)}
    assert len(shown) > 30 and shown <= {metric.full_name for metric in METRICS}
