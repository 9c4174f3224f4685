"""Track the active alerts: check the conditions every few seconds, and begin and end each alert once.

An alert begins once its condition has held for the rule's duration. It ends once the condition has been false for the rule's
`keep_s`, so a value near the threshold does not begin it repeatedly. Active alerts are plain data, which survives a restart.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from pumpwatch.ops.alert_rules import GROWING_S, OVER_S, RULES, RUNBOOK, Rule, value_text
from pumpwatch.ops.metric import Sample

Key = tuple[str, str]  # the rule, and the values of the labels
REMEMBERED = 4096  # the limit of conditions that are followed at a time; others wait


class Standing(msgspec.Struct, kw_only=True):
    """An active or ended alert. subject: such as `binance.spot`; empty if the rule has only one subject."""

    name: str
    subject: str
    severity: str
    summary: str
    description: str
    value: float
    threshold: float
    began_at_ns: int
    ended_at_ns: int = 0
    runbook: str = ""


class LastValue(msgspec.Struct, frozen=True):
    """The last value of a metric that continues over a restart, for a rule and a subject."""

    name: str
    subject: str
    value: float


@dataclass(slots=True)
class _Followed:
    """A condition of one subject. Times are monotonic seconds."""

    true_since_s: float | None = None
    false_since_s: float | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """An alert that has begun or ended just now."""

    what: Literal["began", "ended"]
    alert: Standing


class AlertBook:
    """The alerts of one collector. `look` is called every few seconds.

    thresholds: by the name of each enabled rule. keep_s: replaces that of the rules; 0: does not. last: the `last_values` of an
    earlier run, from which growth is measured.
    """

    def __init__(self, thresholds: Mapping[str, float], standing: Iterable[Standing] = (), keep_s: float = 0.0,
                 last: Iterable[LastValue] = ()) -> None:
        self._thresholds, self._keep_s = thresholds, keep_s
        self._rules = [rule for rule in RULES if rule.name in thresholds]
        self._standing = {(alert.name, alert.subject): alert for alert in standing}
        self._inherited = set(self._standing)  # from an earlier run
        self._followed: dict[Key, _Followed] = {}
        self._values: dict[Key, deque[tuple[float, float]]] = {}  # of metrics whose growth counts: monotonic s, value
        self._last = {(known.name, known.subject): known.value for known in last if known.name in thresholds}
        self._began_s: float | None = None

    def last_values(self) -> list[LastValue]:
        """Return the values from which the next run measures growth."""
        return [LastValue(*key, value) for key, value in sorted(self._last.items())]

    def standing(self) -> list[Standing]:
        """Return the active alerts, the oldest first."""
        return sorted(self._standing.values(), key=lambda alert: (alert.began_at_ns, alert.name, alert.subject))

    def rows(self) -> list[dict[str, Any]]:
        """Return the active alerts as plain data with stable keys."""
        return [{"name": alert.name, "subject": alert.subject, "severity": alert.severity, "summary": alert.summary,
                 "description": alert.description, "value": alert.value, "threshold": alert.threshold,
                 "since_ns": alert.began_at_ns, "runbook": alert.runbook} for alert in self.standing()]

    def look(self, samples: Iterable[Sample], now_s: float, now_ns: int) -> list[Change]:
        """Judge every condition by these samples; return the alerts that began or ended. now_s: monotonic; now_ns: UTC."""
        if self._began_s is None:
            self._began_s = now_s
        by_metric: dict[str, list[Sample]] = {}
        for sample in samples:
            by_metric.setdefault(sample.metric.name, []).append(sample)
        changes: list[Change] = []
        for rule in self._rules:
            seen = set()
            for sample in by_metric.get(rule.metric.name, ()):
                labels = sample.named()
                if all(labels[name] == value for name, value in rule.where.items()):
                    key = rule.name, _subject(rule, labels)
                    seen.add(key)
                    changes += self._judge(rule, key, labels, sample.value, now_s, now_ns)
            changes += self._forget_absent(rule, seen, now_s, now_ns)
        changes += [Change("ended", self._end(key, now_ns)) for key in list(self._standing) if key[0] not in self._thresholds]
        return changes

    def _judge(self, rule: Rule, key: Key, labels: Mapping[str, str], value: float, now_s: float, now_ns: int) -> list[Change]:
        if key not in self._followed and len(self._followed) >= REMEMBERED:
            return []
        threshold, followed = self._thresholds[rule.name], self._followed.setdefault(key, _Followed())
        holds, shown = self._holds(rule, key, value, threshold, now_s)
        if holds:
            followed.false_since_s = None
            followed.true_since_s = now_s if followed.true_since_s is None else followed.true_since_s
            standing = self._standing.get(key)
            if standing is not None:
                standing.value, standing.description = shown, _words(rule, rule.says, labels, shown)
            elif now_s - followed.true_since_s >= rule.duration_s(threshold):
                self._standing[key] = Standing(
                    name=rule.name, subject=key[1], severity=rule.severity, summary=_words(rule, rule.summary, labels, shown),
                    description=_words(rule, rule.says, labels, shown), value=shown, threshold=threshold, began_at_ns=now_ns,
                    runbook=f"{RUNBOOK}#{rule.section}")
                return [Change("began", self._standing[key])]
            return []
        followed.true_since_s = None
        return self._may_end(rule, key, now_s, now_ns)

    def _may_end(self, rule: Rule, key: Key, now_s: float, now_ns: int) -> list[Change]:
        """End the alert if its condition has been false for long enough."""
        followed = self._followed.setdefault(key, _Followed())
        followed.false_since_s = now_s if followed.false_since_s is None else followed.false_since_s
        keep_s = self._keep_s or rule.keep_s
        if key in self._inherited:  # ages and growth begin with the run: wait until the condition could hold again
            keep_s += self._thresholds[rule.name] if rule.since_start else rule.duration_s(self._thresholds[rule.name])
        if key in self._standing and now_s - followed.false_since_s >= keep_s:
            return [Change("ended", self._end(key, now_ns))]
        return []

    def _forget_absent(self, rule: Rule, seen: set[Key], now_s: float, now_ns: int) -> list[Change]:
        """Forget subjects without samples, such as a sink that the config no longer has; their alerts end."""
        changes: list[Change] = []
        for key in [key for key in self._standing if key[0] == rule.name and key not in seen]:
            changes += self._may_end(rule, key, now_s, now_ns)
        for key in [key for key in self._followed if key[0] == rule.name and key not in seen and key not in self._standing]:
            del self._followed[key]
            self._values.pop(key, None)
        return changes

    def _end(self, key: Key, now_ns: int) -> Standing:
        alert = self._standing.pop(key)
        self._inherited.discard(key)
        alert.ended_at_ns = now_ns
        return alert

    def _holds(self, rule: Rule, key: Key, value: float, threshold: float, now_s: float) -> tuple[bool, float]:
        """Return whether a condition holds now, and the value to show."""
        if rule.kind == "state":
            return value == rule.state, value
        if rule.kind == "above":
            value = abs(value) if rule.absolute else value
            return value > threshold, value
        span_s = OVER_S if rule.kind == "increase" else GROWING_S
        values = self._values.setdefault(key, deque())
        if rule.lasting:
            if not values:
                values.append((now_s, self._last.get(key, value)))
            self._last[key] = value
        values.append((now_s, value))
        while len(values) > 1 and now_s - values[0][0] > span_s:
            values.popleft()
        grown = value - values[0][1]
        return (grown >= threshold, grown) if rule.kind == "increase" else (value > threshold and grown > 0, value)


def _subject(rule: Rule, labels: Mapping[str, str]) -> str:
    return " ".join(value for name, value in labels.items() if name not in rule.where)


def _words(rule: Rule, text: str, labels: Mapping[str, str], value: float) -> str:
    return text.format(value=value_text(rule, value), **labels)
