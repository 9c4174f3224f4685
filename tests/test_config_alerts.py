"""The section `alerts` of the config: thresholds that are checked, and an alert that is turned off."""

from __future__ import annotations

from pathlib import Path

import pytest

from pumpwatch.config import load
from pumpwatch.errors import ConfigError


def test_a_threshold_is_read_and_the_others_keep_their_defaults(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("alerts: {venue_silent: 300, disk_full: 0}\n")
    alerts = load(file, {"PUMPWATCH_ALERTS__INTERVAL_S": "5"}).alerts
    assert (alerts.venue_silent, alerts.disk_full, alerts.interval_s, alerts.disk_filling) == (300.0, 0.0, 5.0, 0.7)


@pytest.mark.parametrize("wrong", ["venue_silent: -1", "venue_quiet: 10", "interval_s: 0"])
def test_a_threshold_below_0_and_an_unknown_alert_are_refused(tmp_path: Path, wrong: str) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(f"alerts: {{{wrong}}}\n")
    with pytest.raises(ConfigError) as told:
        load(file, {})
    assert "alerts." in str(told.value)
