"""The alerts as rules of Prometheus, generated from the table of `alert_rules`.

`keep_firing_for` needs Prometheus 2.42 or newer.
"""

from __future__ import annotations

from typing import Any

import yaml

from pumpwatch.config_alerts import AlertsConfig
from pumpwatch.ops.alert_rules import COLLECTOR_DOWN, GROWING_S, OUTSIDE, OVER_S, RULES, RUNBOOK, Rule

JOB = "pumpwatch"  # the name of the scrape job
SHOWN = {"s": "{{ $value | humanizeDuration }}", "%": "{{ $value | humanizePercentage }}", "": '{{ $value | printf "%.0f" }}'}


def expression(rule: Rule, threshold: float) -> str:
    """Return a rule's condition in PromQL."""
    chosen = ", ".join(f'{name}="{value}"' for name, value in rule.where.items())
    metric = f"{rule.metric.full_name}{{{chosen}}}" if chosen else rule.metric.full_name
    if rule.kind == "state":
        return f"{metric} == {rule.state}"
    if rule.kind == "increase":
        grown = "increase" if rule.metric.kind == "counter" else "delta"
        return f"{grown}({metric}[{span(OVER_S)}]) >= {threshold:.15g}"
    if rule.kind == "growing":
        return f"{metric} > {threshold:.15g} and delta({metric}[{span(GROWING_S)}]) > 0"
    return f"{f'abs({metric})' if rule.absolute else metric} > {threshold:.15g}"


HEAD = "# Made by packaging/doc_pages.py from pumpwatch/ops/alert_rules.py. Needs Prometheus 2.42 or newer.\n"


def rules_file() -> str:
    """Return packaging/prometheus/alerts.yml."""
    return HEAD + yaml.safe_dump(rules(), sort_keys=False, width=130)


def rules() -> dict[str, Any]:
    """Return the file of rules as plain data, with the default thresholds of the config."""
    defaults = AlertsConfig()
    found = [_alert(rule, float(getattr(defaults, rule.key))) for rule in RULES]
    found.append({
        "alert": COLLECTOR_DOWN, "expr": f'up{{job="{JOB}"}} == 0', "for": "1m", "labels": {"severity": "critical"},
        "annotations": {"summary": "The collector does not answer", "description": OUTSIDE[COLLECTOR_DOWN],
                        "runbook_url": runbook_url(COLLECTOR_DOWN.lower())}})
    return {"groups": [{"name": "pumpwatch", "rules": found}]}


def runbook_url(section: str) -> str:
    """Return the path of a section of the runbook, relative to the repository."""
    return f"{RUNBOOK}#{section}"


def _alert(rule: Rule, threshold: float) -> dict[str, Any]:
    labels = {name: f"{{{{ $labels.{name} }}}}" for name in rule.metric.labels}
    value = SHOWN[rule.unit]
    found: dict[str, Any] = {"alert": rule.name, "expr": expression(rule, threshold)}
    duration_s = rule.duration_s(threshold)
    found |= {"for": span(duration_s)} if duration_s else {}
    return found | {
        "keep_firing_for": span(rule.keep_s), "labels": {"severity": rule.severity},
        "annotations": {"summary": rule.summary.format(value=value, **labels),
                        "description": rule.says.format(value=value, **labels), "runbook_url": runbook_url(rule.section)}}


def span(seconds: float) -> str:
    """Return a duration as Prometheus writes it: `15m`, `30s`."""
    whole = round(seconds)
    return f"{whole // 60}m" if whole >= 60 and whole % 60 == 0 else f"{whole}s"
