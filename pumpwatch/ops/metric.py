"""One metric, and one value of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pumpwatch.ops.metric_readings import Labels, Read

PREFIX = "pumpwatch_"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. name: without the prefix. meaning: one sentence."""

    name: str
    kind: Literal["counter", "gauge"]
    meaning: str
    read: Read
    labels: Labels = ()

    @property
    def full_name(self) -> str:
        """Return the name as Prometheus has it."""
        return PREFIX + self.name


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of a metric. labels: the values of the metric's labels, in the same order."""

    metric: Metric
    labels: Labels
    value: float

    def named(self) -> dict[str, str]:
        """Return the labels by name."""
        return dict(zip(self.metric.labels, self.labels, strict=True))


def counter(name: str, meaning: str, read: Read, *labels: str) -> Metric:
    return Metric(name, "counter", meaning, read, labels)


def gauge(name: str, meaning: str, read: Read, *labels: str) -> Metric:
    return Metric(name, "gauge", meaning, read, labels)
