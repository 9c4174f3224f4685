"""The section `alerts` of the configuration: the threshold of each alert. 0 turns an alert off.

`pumpwatch/ops/alert_rules.py` has the conditions; a test compares its keys with these.
"""

from __future__ import annotations

from pumpwatch.config_section import NotNegative, Positive, Section


class AlertsConfig(Section):
    enabled: bool = True
    interval_s: Positive = 15.0
    keep_s: NotNegative = 0.0  # an alert ends once its condition has been false for this long; 0: the rule's own time
    venue_silent: NotNegative = 120.0
    venue_down: NotNegative = 120.0
    venue_lagging: NotNegative = 5.0
    frames_quarantined: NotNegative = 100.0
    gap_lost: NotNegative = 1.0
    trades_dropped: NotNegative = 1.0
    journal_stalled: NotNegative = 10.0
    journal_backlog_growing: NotNegative = 100_000.0
    sink_down: NotNegative = 120.0
    sink_suspended: NotNegative = 30.0
    sink_backlog_growing: NotNegative = 1_000_000.0
    disk_filling: NotNegative = 0.70
    disk_nearly_full: NotNegative = 0.85
    disk_full: NotNegative = 0.95
    memory_high: NotNegative = 0.70
    clock_drift: NotNegative = 2.0
    listing_source_down: NotNegative = 120.0
    archive_failed: NotNegative = 1.0
    channel_down: NotNegative = 300.0
    queries_failing: NotNegative = 10.0
    backup_failed: NotNegative = 30.0
    job_missed: NotNegative = 120.0
    job_failing: NotNegative = 1.0
