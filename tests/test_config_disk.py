"""The thresholds of a disk rise, and an emergency keeps less."""

from __future__ import annotations

import pytest

from pumpwatch.config_disk import DiskConfig, check_disk
from pumpwatch.config_errors import ConfigSource
from pumpwatch.errors import ConfigError


@pytest.mark.parametrize(("options", "key"), [
    (DiskConfig(emergency_percent=70.0), "disk.emergency_percent"),
    (DiskConfig(full_percent=80.0), "disk.full_percent"),
    (DiskConfig(back_percent=70.0), "disk.back_percent"),
    (DiskConfig(emergency_days=31), "disk.emergency_days"),
])
def test_thresholds_that_contradict_each_other_are_refused_by_name(options: DiskConfig, key: str) -> None:
    check_disk(DiskConfig(), ConfigSource("config"))
    with pytest.raises(ConfigError, match=f"{key}: must be"):
        check_disk(options, ConfigSource("config"))
