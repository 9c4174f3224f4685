"""A metric's values come from the figures: counters begin at 0 for what is known, and what is not known is left out."""

from __future__ import annotations

from typing import Any

from pumpwatch.ops.metric_readings import MetricFigures, Read, counted, field, gauged, jobs, judged, rows
from tests.ops.figures import figures


def read(way: Read, **other: Any) -> dict[tuple[str, ...], float]:
    return dict(way(MetricFigures(figures(**other))))


def test_a_counter_is_0_for_each_venue_before_it_counts() -> None:
    assert read(counted("frames_total", "venue")) == {("a.spot",): 50.0, ("b.futures",): 0.0}
    assert read(counted("never_total")) == {(): 0.0}


def test_labels_that_a_metric_does_not_have_are_summed() -> None:
    assert read(counted("restarts_total")) == {(): 3.0}
    assert read(counted("listing_notices_total", "source")) == {("upbit",): 5.0, ("bithumb",): 0.0}
    assert read(counted("listing_polls_total", "source", "outcome")) == {("upbit", "read"): 8.0}


def test_what_is_not_known_is_left_out() -> None:
    assert read(field("clock_offset_s")) == {} and read(field("clock_offset_s"), clock_offset_s=0.0) == {(): 0.0}
    assert read(field("disk", "used_share"), disk={}) == read(field("disk", "used_share"), disk={"used_share": None}) == {}
    assert read(gauged("backup_failed")) == {} and read(gauged("last_commit_ns", 0.5)) == {(): 1e18}
    assert read(jobs("took_s")) == {} and read(jobs("runs")) == {("retention",): 4.0}


def test_a_row_of_a_list_counts_its_entries_and_a_number_is_brought_to_its_unit() -> None:
    assert read(rows("venue", "silent")) == {("a.spot",): 1.0, ("b.futures",): 1.0}
    assert read(rows("venue", "lag_ms", 1e-3)) == {("a.spot",): 0.0125, ("b.futures",): 0.0125}
    assert read(rows("channel", "up")) == {("phone",): 0.0}
    assert read(judged("sink", lambda row: row["state"] == "up")) == {("questdb",): 1.0}


def test_a_sink_that_is_off_has_no_values() -> None:
    sinks = [{"name": "questdb", "state": "off", "backlog_trades": 10**9}, {"name": "other", "state": "up", "backlog_trades": 4}]
    assert read(rows("sink", "backlog_trades"), sinks=sinks) == {("other",): 4.0}
    assert read(judged("sink", lambda row: True), sinks=sinks) == {("other",): 1.0}
