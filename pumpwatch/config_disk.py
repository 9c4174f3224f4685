"""The sections `disk` and `memory`: the limits of both."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from pumpwatch.config_errors import ConfigSource
from pumpwatch.config_section import NotNegative, Positive, PositiveInt, Section
from pumpwatch.errors import ConfigError

Percent = Annotated[float, Meta(gt=0, le=100)]


class DiskConfig(Section):
    """Thresholds in percent of a disk, and the retention beyond each of them."""

    clean_up_percent: Percent = 70.0
    emergency_percent: Percent = 85.0
    full_percent: Percent = 95.0
    back_percent: Positive = 3.0
    cold_days: PositiveInt = 30
    emergency_days: PositiveInt = 25
    emergency_hours: Positive = 6.0
    cold_dir: str = ""


class MemoryConfig(Section):
    """The limit of the process's resident memory."""

    limit_mb: NotNegative = 0.0  # 0: the limit of the control group, or half of the machine's memory


def check_disk(disk: DiskConfig, source: ConfigSource) -> None:
    """Raise ConfigError unless the thresholds rise and an emergency keeps no more days than usual."""
    def wrong(key: str, problem: str) -> ConfigError:
        return ConfigError(f"{source.at(key)}: {key}: {problem}", "the thresholds rise: clean_up, emergency, full")

    if disk.emergency_percent <= disk.clean_up_percent:
        raise wrong("disk.emergency_percent", f"must be more than disk.clean_up_percent, {disk.clean_up_percent:g}")
    if disk.full_percent <= disk.emergency_percent:
        raise wrong("disk.full_percent", f"must be more than disk.emergency_percent, {disk.emergency_percent:g}")
    if disk.back_percent >= disk.clean_up_percent:
        raise wrong("disk.back_percent", f"must be less than disk.clean_up_percent, {disk.clean_up_percent:g}")
    if disk.emergency_days > disk.cold_days:
        raise wrong("disk.emergency_days", f"must be at most disk.cold_days, {disk.cold_days}")
