"""promtool, and tests of the alert rules for it: each condition is false, becomes true, and is false again."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import yaml

from pumpwatch.config_alerts import AlertsConfig
from pumpwatch.ops.alert_rules import COLLECTOR_DOWN, OVER_S, RULES, Rule
from pumpwatch.ops.prometheus_rules import JOB, span

ROOT = Path(__file__).resolve().parent.parent.parent
STEP_S = 15
QUIET, HELD, AFTER = 40, 80, 120  # steps: ten minutes of quiet, twenty in which the condition holds, and thirty after it


def promtool(*words: str, folder: Path, stdin: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run promtool in a folder. Fails the test where this machine has none: `packaging/promtool` says where to get it."""
    found = subprocess.run([ROOT / "packaging" / "promtool"], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    return subprocess.run([found.stdout.strip(), *words], cwd=folder, capture_output=True, text=True, check=False,
                          input=stdin.read_text("utf-8") if stdin else None)


def check_expressions(expressions: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Have promtool parse PromQL: one rule an expression."""
    rules = [{"record": f"expression:number_{number}", "expr": text} for number, text in enumerate(expressions)]
    (folder / "expressions.yml").write_text(yaml.safe_dump({"groups": [{"name": "expressions", "rules": rules}]}), "utf-8")
    return promtool("check", "rules", "expressions.yml", folder=folder)


def check_timing(content: str, folder: Path, only: str = "") -> subprocess.CompletedProcess[str]:
    """Have promtool test the rules of a file, or one of them: each in a file of its own, which takes a twentieth of the time."""
    files = []
    rules = {rule["alert"]: rule for group in yaml.safe_load(content)["groups"] for rule in group["rules"]}
    for name, test in _tests().items():
        if only in ("", name):
            (folder / f"{name}.yml").write_text(yaml.safe_dump({"groups": [{"name": "one", "rules": [rules[name]]}]}), "utf-8")
            files.append(f"test_{name}.yml")
            (folder / files[-1]).write_text(yaml.safe_dump(
                {"rule_files": [f"{name}.yml"], "evaluation_interval": span(STEP_S), "tests": [test]}, width=200), "utf-8")
    return promtool("test", "rules", *files, folder=folder)


def _tests() -> dict[str, dict[str, Any]]:
    """Return promtool's test of each alert, with made-up values."""
    down = {"name": COLLECTOR_DOWN, "interval": span(STEP_S), "input_series": [
        {"series": f'up{{job="{JOB}"}}', "values": f"1x{QUIET - 1} 0x{HELD - 1} 1x{AFTER}"}], "promql_expr_test": [
            _at(COLLECTOR_DOWN, QUIET - 1, None), _at(COLLECTOR_DOWN, QUIET + 6, {"job": JOB, "severity": "critical"}),
            _at(COLLECTOR_DOWN, QUIET + HELD + 6, None)]}
    return {test["name"]: test for test in (*map(_test, RULES), down)}


def _test(rule: Rule) -> dict[str, Any]:
    threshold = float(getattr(AlertsConfig(), rule.key))
    named = {name: rule.where.get(name, f"some_{name}") for name in rule.metric.labels}
    series = rule.metric.full_name + "{" + ", ".join(f'{name}="{value}"' for name, value in named.items()) + "}"
    labels = named | {"severity": rule.severity}
    waits = int(rule.duration_s(threshold) / STEP_S)
    counts = int(OVER_S / STEP_S) if rule.kind == "increase" else 0
    before_end = QUIET + HELD + int(rule.keep_s / STEP_S) - 2
    steps: list[tuple[int, dict[str, str] | None]] = [
        (QUIET - 1, None), (QUIET + waits + 4, labels), (before_end, labels), (before_end + counts + 6, None)]
    if waits > 1:
        steps.insert(1, (QUIET + waits - 1, None))
    return {"name": rule.name, "interval": span(STEP_S),
            "input_series": [{"series": series, "values": values_in_words(rule, threshold)}],
            "promql_expr_test": [_at(rule.name, step, found) for step, found in steps]}


def values_in_words(rule: Rule, threshold: float) -> str:
    """Return values of a rule's metric: a quiet time, one in which the condition holds, and a quiet one."""
    if rule.kind == "state":
        return f"{1 - rule.state}x{QUIET - 1} {rule.state}x{HELD - 1} {1 - rule.state}x{AFTER}"
    if rule.kind == "increase":
        return f"0x{QUIET - 1} {threshold:.15g}+{threshold:.15g}x{HELD - 1} {threshold * HELD:.15g}x{AFTER}"
    low, high = threshold * 0.5, threshold * 1.04
    growth = threshold / 100 if rule.kind == "growing" else 0.0
    sign = -1 if rule.absolute else 1
    return f"{low * sign:.15g}x{QUIET - 1} {high * sign:.15g}+{growth:.15g}x{HELD - 1} {low * sign:.15g}x{AFTER}"


def _at(name: str, step: int, labels: dict[str, str] | None) -> dict[str, Any]:
    """Return a test that an alert fires with these labels, or not (None)."""
    expression = f'ALERTS{{alertname="{name}", alertstate="firing"}}'
    if labels is None:
        return {"expr": expression, "eval_time": span(step * STEP_S), "exp_samples": []}
    named = ", ".join(f'{key}="{value}"' for key, value in labels.items())
    return {"expr": expression, "eval_time": span(step * STEP_S), "exp_samples": [
        {"labels": f'ALERTS{{alertname="{name}", alertstate="firing", {named}}}', "value": 1}]}
