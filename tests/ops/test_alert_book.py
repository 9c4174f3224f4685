"""Alerts begin once and end once, do not flap, and stand over a restart."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from pumpwatch.config_alerts import AlertsConfig
from pumpwatch.ops.alert_book import AlertBook, LastValue, Standing
from pumpwatch.ops.alert_rules import RULES, Rule, thresholds
from pumpwatch.ops.metric import Sample
from tests.ops.promtool import AFTER, HELD, QUIET, STEP_S, values_in_words

DEFAULTS = thresholds(AlertsConfig())
BY_NAME = {rule.name: rule for rule in RULES}
NS = 1_000_000_000


class Watch:
    """A book that is looked at each STEP_S, and all that has begun and ended: (step, what, subject)."""

    def __init__(self, *names: str, standing: Sequence[Standing] = (), last: Sequence[LastValue] = ()) -> None:
        self.book = AlertBook({name: DEFAULTS[name] for name in names}, standing, last=last)
        self.step, self.seen = 0, list[tuple[int, str, str]]()

    def look(self, *samples: Sample) -> None:
        now_s = 1000.0 + self.step * STEP_S
        changes = self.book.look(samples, now_s, int(now_s) * NS)
        self.seen += [(self.step, change.what, change.alert.subject) for change in changes]
        self.step += 1


def sample(name: str, value: float, *labels: str) -> Sample:
    metric = BY_NAME[name].metric
    return Sample(metric, labels or tuple(f"some_{label}" for label in metric.labels), value)


def values_of(written: str) -> list[float]:
    """Return the values that promtool's notation stands for: `1x3`, `2+0.5x4`."""
    found: list[float] = []
    for part in written.split():
        first, _, count = part.partition("x")
        start, _, growth = first.partition("+")
        found += [float(start) + float(growth or 0) * number for number in range(int(count) + 1)]
    return found


def labels_of(rule: Rule) -> tuple[str, ...]:
    return tuple(rule.where.get(name, f"some_{name}") for name in rule.metric.labels)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_each_alert_begins_and_ends_when_the_rule_of_prometheus_does(rule: Rule) -> None:
    """These are the values with which promtool tests the same rule."""
    threshold = DEFAULTS[rule.name]
    watch = Watch(rule.name)
    values = values_of(values_in_words(rule, threshold))
    assert len(values) == QUIET + HELD + AFTER + 1
    for value in values:
        watch.look(Sample(rule.metric, labels_of(rule), value))
    (began, what, subject), (ended, over, _) = watch.seen
    assert (what, over) == ("began", "ended")
    assert subject == " ".join(f"some_{name}" for name in rule.metric.labels if name not in rule.where)
    waits = int(rule.duration_s(threshold) / STEP_S)
    assert QUIET + waits - 1 < began <= QUIET + waits + 4
    counts = 900 // STEP_S if rule.kind == "increase" else 0
    assert QUIET + HELD + int(rule.keep_s / STEP_S) - 2 < ended <= QUIET + HELD + int(rule.keep_s / STEP_S) + counts + 4


def test_a_value_about_the_threshold_does_not_begin_an_alert_again_and_again() -> None:
    watch = Watch("DiskFull")
    for step in range(200):
        watch.look(sample("DiskFull", 0.951 if step % 7 < 4 else 0.949))
    assert [what for _, what, _ in watch.seen] == ["began"]


def test_a_condition_that_holds_for_a_moment_begins_nothing() -> None:
    watch = Watch("VenueLagging", "ListingSourceDown")
    for step in range(100):
        watch.look(sample("VenueLagging", 60.0 if step % 8 < 4 else 0.1), sample("ListingSourceDown", float(step % 8 >= 4)))
    assert watch.seen == []


def test_each_venue_has_an_alert_of_its_own() -> None:
    watch = Watch("VenueSilent")
    for silent in (0, 200):
        watch.look(sample("VenueSilent", silent, "a.spot"), sample("VenueSilent", 0, "b.spot"))
    (row,) = watch.book.rows()
    assert (row["name"], row["subject"], row["severity"], row["value"], row["threshold"]) == (
        "VenueSilent", "a.spot", "critical", 200, 120.0)
    assert row["summary"] == "a.spot is silent" and row["description"] == "No trade of a.spot was read for 200 s."
    assert row["runbook"] == "docs/runbook.md#venuesilent"
    watch.look(sample("VenueSilent", 300, "a.spot"), sample("VenueSilent", 200, "b.spot"))
    assert watch.seen == [(1, "began", "a.spot"), (2, "began", "b.spot")]
    assert watch.book.rows()[0]["description"] == "No trade of a.spot was read for 300 s."


def standing(name: str, subject: str) -> Standing:
    return Standing(name=name, subject=subject, severity="critical", summary="s", description="d", value=1.0, threshold=1.0,
                    began_at_ns=7)


def test_an_alert_that_stood_before_a_restart_is_not_told_again_while_its_condition_holds() -> None:
    watch = Watch("SinkDown", standing=[standing("SinkDown", "questdb")])
    for _ in range(50):
        watch.look(sample("SinkDown", 0.0, "questdb"))
    assert watch.seen == [] and watch.book.rows()[0]["since_ns"] == 7


def test_a_silence_that_goes_on_over_a_restart_is_one_alert() -> None:
    """The age counts from the start of the process, so at first it is below the threshold."""
    watch = Watch("VenueSilent", standing=[standing("VenueSilent", "a.spot")])
    for step in range(60):
        watch.look(sample("VenueSilent", step * STEP_S, "a.spot"))
    assert watch.seen == []
    for _ in range(60):
        watch.look(sample("VenueSilent", 0.0, "a.spot"))
    assert [what for _, what, _ in watch.seen] == ["ended"]


def test_an_alert_about_something_that_exists_no_more_ends() -> None:
    watch = Watch("SinkDown", standing=[standing("SinkDown", "gone"), standing("VenueSilent", "turned.off")])
    for _ in range(20):
        watch.look(sample("SinkDown", 1.0, "questdb"))
    assert sorted(subject for _, what, subject in watch.seen) == ["gone", "turned.off"] and watch.book.standing() == []


def test_a_counter_that_begins_with_the_first_look_is_no_increase() -> None:
    watch = Watch("TradesDropped")
    for value in (5000.0, 5000.0, 5001.0):
        watch.look(sample("TradesDropped", value))
    assert watch.seen == [(2, "began", "")]
    assert watch.book.rows()[0]["value"] == 1.0


def test_a_gap_that_is_lost_between_two_runs_is_told_after_the_start() -> None:
    earlier = Watch("GapLost")
    earlier.look(sample("GapLost", 3, "some.venue", "lost"))
    assert earlier.seen == [] and earlier.book.last_values() == [LastValue("GapLost", "some.venue", 3)]
    later = Watch("GapLost", last=earlier.book.last_values())
    later.look(sample("GapLost", 4, "some.venue", "lost"))
    assert later.seen == [(0, "began", "some.venue")]
    unchanged = Watch("GapLost", last=earlier.book.last_values())
    unchanged.look(sample("GapLost", 3, "some.venue", "lost"))
    assert unchanged.seen == []


def test_a_backlog_that_rises_and_falls_is_one_alert() -> None:
    watch = Watch("SinkBacklogGrowing")
    high = DEFAULTS["SinkBacklogGrowing"] * 2
    for step in range(200):
        watch.look(sample("SinkBacklogGrowing", high + step % 17 * 100.0))
    assert [what for _, what, _ in watch.seen] == ["began"]
