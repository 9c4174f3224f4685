"""The table of alert rules, from which the collector's alerts and the rules of Prometheus are generated.

A rule is about one metric, so both see the same values. Its threshold is a key of the config's section `alerts`, named after the
rule in snake case; 0 disables the rule. For a rule of the kind `state` the key is the duration.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pumpwatch.config_alerts import AlertsConfig
from pumpwatch.ops.metric import PREFIX, Metric
from pumpwatch.ops.metrics import BY_NAME

RUNBOOK = "docs/runbook.md"
OVER_S = 900.0  # the time over which a rule of the kind `increase` counts
GROWING_S = 600.0  # the time over which the value of a rule of the kind `growing` must have grown
KEEP_S = 60.0  # an alert ends once its condition has been false for this long

Severity = Literal["info", "warning", "critical"]
Kind = Literal["above", "growing", "increase", "state"]


@dataclass(frozen=True, slots=True)
class Rule:
    """The condition of an alert, and its texts.

    above: the value exceeds the threshold. growing: it also exceeds its value of GROWING_S ago. increase: it has grown by
    at least the threshold within OVER_S. state: it has equalled `state` for the threshold, in s. `says` and
    `summary` have `{value}` and the metric's labels as placeholders.
    """

    name: str
    kind: Kind
    metric: Metric
    severity: Severity
    summary: str
    says: str
    for_s: float = 0.0
    keep_s: float = KEEP_S
    state: int = 0
    absolute: bool = False  # the value's sign does not matter
    lasting: bool = False  # the metric continues over a restart, and so does its increase
    since_start: bool = False  # the value is an age that starts at 0 with the run
    unit: str = ""  # of the value: `s`, `%`; empty for a plain number
    where: Mapping[str, str] = field(default_factory=dict)  # labels that a sample must have

    @property
    def key(self) -> str:
        """Return the key of its threshold in the config."""
        return re.sub(r"(?<!^)([A-Z])", r"_\1", self.name).lower()

    @property
    def section(self) -> str:
        """Return the anchor of its section in the runbook."""
        return self.name.lower()

    def duration_s(self, threshold: float) -> float:
        """Return how long the condition must hold."""
        return threshold if self.kind == "state" else self.for_s


def _rule(name: str, kind: Kind, metric: str, severity: Severity, summary: str, says: str, *, for_s: float = 0.0,
          keep_s: float = KEEP_S, state: int = 0, absolute: bool = False, lasting: bool = False, since_start: bool = False,
          unit: str = "", where: Mapping[str, str] | None = None) -> Rule:
    return Rule(name, kind, BY_NAME[PREFIX + metric], severity, summary, says, for_s, keep_s, state, absolute, lasting,
                since_start, unit, where or {})


RULES: tuple[Rule, ...] = (
    _rule("VenueSilent", "above", "venue_silent_seconds", "critical", "{venue} is silent",
          "No trade of {venue} was read for {value}.", since_start=True, unit="s"),
    _rule("VenueDown", "above", "venue_down_seconds", "critical", "{venue} is not fully read",
          "A connection of {venue} has been down for {value}.", since_start=True, unit="s"),
    _rule("VenueLagging", "above", "venue_lag_seconds", "warning", "{venue} arrives late",
          "Trades of {venue} arrive {value} after they happened.", for_s=120, unit="s"),
    _rule("FramesQuarantined", "increase", "quarantined_frames_total", "warning", "{venue} sends frames that cannot be parsed",
          "Frames of {venue} that were quarantined within 15 minutes: {value}."),
    _rule("GapLost", "increase", "gaps", "critical", "{venue} has a gap that cannot be filled",
          "Gaps of {venue} that were lost within 15 minutes: {value}. Their trades cannot be fetched.",
          lasting=True, where={"state": "lost"}),
    _rule("TradesDropped", "increase", "dropped_trades_total", "critical", "Trades were dropped",
          "Trades that were dropped within 15 minutes because the disk did not take them: {value}. Gaps name them."),
    _rule("JournalStalled", "above", "journal_backlog_seconds", "critical", "The journal does not commit",
          "The oldest trade that is only in memory has waited for {value}.", for_s=15, unit="s"),
    _rule("JournalBacklogGrowing", "growing", "journal_backlog_trades", "warning", "The journal falls behind",
          "Trades that wait to become durable: {value}. The number grows.", for_s=30, keep_s=GROWING_S),
    _rule("SinkDown", "state", "sink_up", "warning", "Sink {sink} is down",
          "Sink {sink} does not accept trades. The journal keeps them.", state=0),
    _rule("SinkSuspended", "state", "sink_suspended", "critical", "Sink {sink} waits for a person",
          "Sink {sink} has a problem that a person must solve, such as a suspended table.", state=1),
    _rule("SinkBacklogGrowing", "growing", "sink_backlog_trades", "warning", "Sink {sink} falls behind",
          "Trades that sink {sink} has not received yet: {value}. The number grows.", for_s=120, keep_s=GROWING_S),
    _rule("DiskFilling", "above", "disk_used_ratio", "info", "The disk of store.dir fills",
          "{value} of the disk of store.dir is used.", for_s=60, keep_s=300, unit="%"),
    _rule("DiskNearlyFull", "above", "disk_used_ratio", "warning", "The disk of store.dir is nearly full",
          "{value} of the disk of store.dir is used.", for_s=60, keep_s=300, unit="%"),
    _rule("DiskFull", "above", "disk_used_ratio", "critical", "The disk of store.dir is full",
          "{value} of the disk of store.dir is used.", for_s=15, keep_s=300, unit="%"),
    _rule("MemoryHigh", "above", "memory_used_ratio", "warning", "The collector uses much memory",
          "The process uses {value} of its memory limit.", for_s=120, keep_s=300, unit="%"),
    _rule("ClockDrift", "above", "clock_offset_seconds", "warning", "The clock of this machine is wrong",
          "This machine's clock differs by {value} from the clocks of the servers that answer.", for_s=120, keep_s=120,
          absolute=True, unit="s"),
    _rule("ListingSourceDown", "state", "listing_source_up", "critical", "Listing source {source} is down",
          "Listing source {source} does not answer: its notices are not seen.", state=0),
    _rule("ArchiveFailed", "increase", "listing_problems_total", "critical", "An archive could not be written",
          "Archives of listings that could not be written within 15 minutes: {value}."),
    _rule("ChannelDown", "state", "notify_up", "warning", "Channel {channel} does not accept messages",
          "Channel {channel} does not accept messages. They wait for a day.", state=0),
    _rule("QueriesFailing", "increase", "queries_failed_total", "warning", "Queries of trades fail",
          "Queries of trades without a whole answer within 15 minutes: {value}."),
    _rule("BackupFailed", "state", "backup_failed", "critical", "The backup failed",
          "The last backup failed. The collector's log has the reason.", state=1),
    _rule("JobMissed", "above", "job_overdue_seconds", "warning", "Job {job} is overdue",
          "Job {job} should have ended {value} ago.", since_start=True, unit="s"),
    _rule("JobFailing", "increase", "job_failures_total", "warning", "Job {job} fails",
          "Runs of job {job} that ended with an error within 15 minutes: {value}."),
)

COLLECTOR_DOWN = "CollectorDown"  # only Prometheus can notice this
OUTSIDE: Mapping[str, str] = {COLLECTOR_DOWN: "`/metrics` does not answer: the collector does not run, or it hangs."}


def thresholds(config: AlertsConfig) -> dict[str, float]:
    """Return the threshold of each enabled rule by its name."""
    found = {rule.name: float(getattr(config, rule.key)) for rule in RULES} if config.enabled else {}
    return {name: threshold for name, threshold in found.items() if threshold}


def value_text(rule: Rule, value: float) -> str:
    """Return a value with its unit: `135 s`, `86 %`, `1,200`."""
    if rule.unit == "%":
        return f"{value:.0%}".replace("%", " %")
    number = f"{value:,.0f}" if abs(value) >= 10 or float(value).is_integer() else f"{value:.1f}"
    return f"{number} {rule.unit}".strip()
