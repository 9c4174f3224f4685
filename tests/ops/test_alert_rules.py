"""The table of alerts is whole: a threshold in the config for each, words that fit, values as people read them."""

from __future__ import annotations

import pytest

from pumpwatch.config_alerts import AlertsConfig
from pumpwatch.ops.alert_rules import RULES, Rule, thresholds, value_text

BY_NAME = {rule.name: rule for rule in RULES}


def test_each_alert_has_a_threshold_of_its_name_in_the_config_and_each_threshold_an_alert() -> None:
    assert {rule.key for rule in RULES} == set(AlertsConfig.__struct_fields__) - {"enabled", "interval_s", "keep_s"}
    assert len(BY_NAME) == len(RULES)


def test_an_alert_is_off_where_its_threshold_is_0_and_all_are_where_the_section_says_so() -> None:
    assert thresholds(AlertsConfig()).keys() == BY_NAME.keys()
    assert thresholds(AlertsConfig(venue_silent=0)).keys() == BY_NAME.keys() - {"VenueSilent"}
    assert thresholds(AlertsConfig(enabled=False)) == {}


@pytest.mark.parametrize(("name", "value", "text"), [
    ("VenueSilent", 135.2, "135 s"), ("VenueLagging", 5.25, "5.2 s"), ("DiskFull", 0.956, "96 %"),
    ("TradesDropped", 12_000, "12,000"),
    ("GapLost", 1.0, "1")])
def test_a_value_is_shown_with_its_unit(name: str, value: float, text: str) -> None:
    assert value_text(BY_NAME[name], value) == text


def test_a_rule_about_a_state_takes_its_duration_from_the_config_and_another_one_from_the_table() -> None:
    assert BY_NAME["SinkDown"].duration_s(90.0) == 90.0
    assert BY_NAME["VenueLagging"].duration_s(90.0) == 120.0
    assert (BY_NAME["VenueSilent"].key, BY_NAME["VenueSilent"].section) == ("venue_silent", "venuesilent")


def test_the_disk_is_told_at_three_levels_each_more_serious() -> None:
    levels: list[Rule] = [BY_NAME[name] for name in ("DiskFilling", "DiskNearlyFull", "DiskFull")]
    assert [getattr(AlertsConfig(), rule.key) for rule in levels] == [0.70, 0.85, 0.95]
    assert [rule.severity for rule in levels] == ["info", "warning", "critical"]
