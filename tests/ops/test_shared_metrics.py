"""Stores, Redis and the cluster as metrics."""

from __future__ import annotations

from typing import Any

from pumpwatch.ops.metric_readings import MetricFigures
from pumpwatch.ops.shared_metrics import API, CLUSTER, REDIS, STORES


def values(status: dict[str, Any]) -> dict[tuple[str, ...], float]:
    figures = MetricFigures(status)
    metrics = (*STORES, *REDIS, *API, *CLUSTER)
    return {(metric.name, *labels): value for metric in metrics for labels, value in metric.read(figures)}


def test_a_collector_without_redis_and_cluster_has_none_of_theirs() -> None:
    found = values({"stores": [{"store": "journal", "works": True, "size_bytes": 7, "parts": None}], "counters": []})
    assert {key: value for key, value in found.items() if value} == {
        ("store_up", "journal"): 1.0, ("store_size_bytes", "journal"): 7.0}
    assert not {"redis_up", "cluster_members", "cluster_role"} & {name for name, *_ in found}


def test_redis_that_is_away_and_a_role_are_told() -> None:
    found = values({"redis": {"up": False, "calls": [], "errors": {"late": 3}, "counts": {"hits": 2}, "busy": 1, "threads": 5,
                              "queued": 0}, "counters": [{"name": "cluster_role", "role": "leader", "value": 1.0}]})
    assert found["redis_up",] == 0.0 and found["redis_call_errors_total", "late"] == 3.0 and found["redis_hits_total",] == 2.0
    assert found["cluster_role", "leader"] == 1.0 and "api_requests_total" not in {key[0] for key in found if found[key]}
