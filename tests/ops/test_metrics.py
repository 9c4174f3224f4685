"""The table of metrics keeps Prometheus's conventions, is documented in both directions, and has values that are true."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from pumpwatch.ops.metrics import METRICS, Metrics
from pumpwatch.ops.stores import StoreRow
from pumpwatch.sink_abilities import ServerFacts
from tests.ops.figures import figures, venue

ROOT = Path(__file__).resolve().parent.parent.parent
UNITS = ("seconds", "bytes", "ratio", "total", "trades", "symbols", "messages", "info")
# counts of things, which the name itself says, and truth values
COUNTS = {"pumpwatch_open_files", "pumpwatch_open_files_limit", "pumpwatch_alerts", "pumpwatch_market_process_up",
          "pumpwatch_market_cache_entries", "pumpwatch_gaps",
          "pumpwatch_venue_connections",
          "pumpwatch_venue_connections_up", "pumpwatch_listing_windows_open", "pumpwatch_listing_windows_not_final",
          "pumpwatch_venue_symbols_subscribed", "pumpwatch_venue_symbols_rejected", "pumpwatch_venue_symbols_silent",
          "pumpwatch_venue_list_up", "pumpwatch_sink_up", "pumpwatch_sink_suspended",
          "pumpwatch_store_up", "pumpwatch_store_failed_in_a_row", "pumpwatch_store_parts", "pumpwatch_store_connections",
          "pumpwatch_store_connections_busy", "pumpwatch_sink_running_calls", "pumpwatch_listing_source_up",
          "pumpwatch_notify_up", "pumpwatch_backup_failed", "pumpwatch_redis_up", "pumpwatch_redis_busy_threads",
          "pumpwatch_redis_threads", "pumpwatch_cluster_members", "pumpwatch_cluster_shards_held", "pumpwatch_cluster_role",
          "pumpwatch_shared_budget_members", "pumpwatch_api_sessions"}
FEW = {"venue", "sink", "source", "channel", "job", "state", "severity", "outcome", "version", "cache", "operation", "kind",
       "role", "store"}


def values(**other: Any) -> dict[tuple[str, ...], float]:
    return {(sample.metric.name, *sample.labels): sample.value for sample in Metrics().read(figures(**other))}


def test_a_name_ends_in_its_unit_and_a_counter_in_total() -> None:
    for metric in METRICS:
        name = metric.full_name
        assert re.fullmatch(r"pumpwatch_[a-z0-9_]+", name), name
        assert name.endswith("_total") == (metric.kind == "counter"), name
        assert name in COUNTS or name.rpartition("_")[2] in UNITS, name
        assert set(metric.labels) <= FEW, name
        assert metric.meaning.endswith(".") and metric.meaning[0].isupper(), name
    assert len({metric.name for metric in METRICS}) == len(METRICS) >= 60
    assert {metric.full_name for metric in METRICS} >= COUNTS


def test_the_page_has_each_metric_with_its_labels_and_no_other() -> None:
    text = (ROOT / "docs" / "metrics.md").read_text("utf-8")
    rows = re.findall(r"^\| `(pumpwatch_\w+)` \| (\w+) \| ([^|]*) \| ([^|]+) \|$", text, re.MULTILINE)
    stated = [(name, kind, tuple(re.findall(r"`(\w+)`", labels)), meaning) for name, kind, labels, meaning in rows]
    assert stated == [(metric.full_name, metric.kind, metric.labels, metric.meaning) for metric in METRICS]


def test_every_metric_has_a_value_once_everything_is_known() -> None:
    known = figures(backup={"last_ok_ns": 5, "last_error": ""}, clock_offset_s=0.1)
    known["jobs"][0]["took_s"] = 0.2
    cache = dict.fromkeys(("hits", "misses", "entries", "bytes", "evictions", "hit_age_s"), 1)
    known["market"] = {"enabled": True, "pid": 7, "starts": 1, "caches": {"books memory": cache}}
    known["redis"] = {"up": True, "calls": [{"operation": "read book", "total": 1, "seconds": 0.1}], "errors": {"late": 1},
                      "counts": {}, "busy": 0, "threads": 4, "queued": 0}
    known["cluster"] = {"last_answer_s": 0.5}
    known["stores"] = [StoreRow("s", "up", ServerFacts("Server 1", 10, 3, 2.0, 0.5, 4, 1)).figures()]
    known["counters"] += [{"name": "cluster_members", "value": 3.0}, {"name": "cluster_shards_held", "value": 14.0},
                          {"name": "cluster_role", "role": "leader", "value": 1.0},
                          {"name": "cluster_news_delay_s", "value": 0.01}]
    seen = {sample.metric.name for sample in Metrics().read(known)}
    assert seen == {metric.name for metric in METRICS}


def test_each_sample_has_the_labels_of_its_metric_and_is_there_once() -> None:
    samples = list(Metrics().read(figures()))
    assert all(len(sample.labels) == len(sample.metric.labels) for sample in samples)
    keys = [(sample.metric.name, sample.labels) for sample in samples]
    assert len(set(keys)) == len(keys)
    assert samples[0].named() == {"version": "0.1.0"}


def test_values_are_those_of_the_figures_in_the_unit_of_the_name() -> None:
    found = values()
    expected = {("trades_total", "a.spot"): 100.0, ("venue_lag_seconds", "a.spot"): 0.0125, ("durable_p99_seconds",): 0.25,
                ("start_timestamp_seconds",): 1_795_000_000.5, ("gaps", "a.spot", "lost"): 3.0,
                ("gaps_recorded_total", "a.spot", "open"): 5.0, ("gaps_recorded_total", "b.futures", "lost"): 0.0,
                ("query_mean_seconds",): 0.25, ("listing_source_up", "upbit"): 1.0, ("notify_up", "phone"): 0.0,
                ("alerts", "critical"): 1.0, ("alerts", "info"): 0.0, ("listing_windows_not_final",): 2.0}
    assert {key: pytest.approx(found[key]) for key in expected} == expected
    assert ("listing_source_up", "bithumb") not in found  # it was not asked yet


def test_gaps_are_not_known_before_the_ledger_was_read() -> None:
    assert not any(name == "gaps" for name, *_ in values(backfill={"looked": False, "left": 0, "left_s": 0.0}))


@pytest.mark.parametrize(("state", "up", "suspended"), [
    ("up", 1, 0), ("starting", 1, 0), ("refilling 1,000 trades", 1, 0), ("down", 0, 0),
    ("table trades is suspended: ALTER TABLE trades RESUME WAL", 0, 1)])
def test_a_sink_is_up_or_down_or_waits_for_a_person(state: str, up: int, suspended: int) -> None:
    found = values(sinks=[{"name": "questdb", "state": state, "backlog_trades": 0}])
    assert (found["sink_up", "questdb"], found["sink_suspended", "questdb"]) == (up, suspended)


def test_a_counter_does_not_go_back_where_a_trade_turns_out_to_be_a_double() -> None:
    metrics = Metrics()
    seen = [next(sample.value for sample in metrics.read(figures(venues=[venue("a", trades_total=count)]))
                 if sample.metric.name == "trades_total") for count in (100, 98, 99, 103)]
    assert seen == [100, 100, 100, 103]


@pytest.mark.parametrize(("backup", "value"), [
    ({"last_ok_ns": 0, "last_error": ""}, None), ({"last_ok_ns": 5, "last_error": ""}, 0.0),
    ({"last_ok_ns": 5, "last_error": "the disk is full"}, 1.0)])
def test_a_backup_has_failed_until_one_goes_well(backup: dict[str, Any], value: float | None) -> None:
    assert values(backup=backup).get(("backup_failed",)) == value


def test_no_label_has_a_symbol_and_there_are_few_series() -> None:
    symbols = [f"S{number}" for number in range(400)]
    many = [venue(name, kind, silent=symbols) for name in "abcdef" for kind in ("spot", "futures")]
    samples = list(Metrics().read(figures(venues=many)))
    assert len(samples) < 800
    assert not any(label.startswith("S1") for sample in samples for label in sample.labels)
