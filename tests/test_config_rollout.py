"""The section `rollout` is refused by its key where it cannot be."""

from __future__ import annotations

import pytest

from pumpwatch.config_errors import ConfigSource
from pumpwatch.config_rollout import PhaseConfig, RolloutConfig, check_rollout
from pumpwatch.errors import ConfigError

SOURCE = ConfigSource("config")


def phases(*percents: int) -> list[PhaseConfig]:
    return [PhaseConfig(percent=percent) for percent in percents]


def test_the_defaults_are_those_of_the_phases_10_50_100() -> None:
    check_rollout(RolloutConfig(), [], SOURCE)
    check_rollout(RolloutConfig(sink="questdb"), ["questdb"], SOURCE)
    assert [phase.percent for phase in RolloutConfig().phases] == [10, 50, 100]


@pytest.mark.parametrize(("rollout", "said"), [
    (RolloutConfig(sink="questdb"), "rollout.sink: sinks has no 'questdb'"),
    (RolloutConfig(phases=phases(50, 10, 100)), "rollout.phases.1: percent must be more than 50"),
    (RolloutConfig(phases=phases(10, 50)), "rollout.phases: the last phase must have percent: 100"),
    (RolloutConfig(phases=[]), "rollout.phases: the last phase"),
])
def test_what_cannot_be_is_named_by_its_key(rollout: RolloutConfig, said: str) -> None:
    with pytest.raises(ConfigError, match=said.replace(".", r"\.")):
        check_rollout(rollout, ["other"], SOURCE)
