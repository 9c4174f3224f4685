"""The section `rollout`: the staged use of a sink, which gets more instruments with each phase."""

from __future__ import annotations

from collections.abc import Collection
from itertools import pairwise
from typing import Annotated

import msgspec
from msgspec import Meta

from pumpwatch.config_errors import ConfigSource
from pumpwatch.config_section import Positive, PositiveInt, Section
from pumpwatch.errors import ConfigError

PhasePercent = Annotated[int, Meta(ge=1, le=100)]
LimitPercent = Annotated[float, Meta(gt=0, le=100)]


class PhaseConfig(Section):
    """A phase: the percent of the instruments that the sink gets, and the duration of the phase."""

    percent: PhasePercent
    duration_h: Positive = 24.0
    fallback: bool = True  # false: an exceeded limit pauses the phase, and the sink keeps its share


class RolloutConfig(Section):
    """The phases of one sink, its comparison with the stored trades, and the limits beyond which it is rolled back."""

    sink: str = ""
    phases: list[PhaseConfig] = msgspec.field(
        default_factory=lambda: [PhaseConfig(percent=percent) for percent in (10, 50, 100)])
    compare_s: Positive = 10.0
    window_s: Positive = 60.0
    instruments: PositiveInt = 20
    look_s: Positive = 30.0
    judged_s: Positive = 300.0
    least_queries: PositiveInt = 5
    max_error_percent: LimitPercent = 5.0
    max_answer_ms: Positive = 500.0
    max_disk_percent: LimitPercent = 95.0


def check_rollout(rollout: RolloutConfig, sinks: Collection[str], source: ConfigSource) -> None:
    """Raise ConfigError unless the sink is configured, each phase is larger than the previous one, and the last is 100 %."""
    def wrong(key: str, problem: str, hint: str) -> ConfigError:
        return ConfigError(f"{source.at(key)}: {key}: {problem}", hint)

    if rollout.sink and rollout.sink not in sinks:
        raise wrong("rollout.sink", f"sinks has no {rollout.sink!r}", f"known: {', '.join(sinks) or 'none'}")
    percents = [phase.percent for phase in rollout.phases]
    for number, (before, after) in enumerate(pairwise(percents), 1):
        if after <= before:
            raise wrong(f"rollout.phases.{number}", f"percent must be more than {before}, the value of the previous phase",
                        "list the phases from the smallest to the largest")
    if not percents or percents[-1] != 100:
        raise wrong("rollout.phases", "the last phase must have percent: 100", "a roll-out ends with every instrument")
