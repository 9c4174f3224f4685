"""The state of the collector."""

from __future__ import annotations

from pathlib import Path

import falcon.testing
import msgspec

from pumpwatch.api.system import Health, Jobs, MetricValues, SystemStatus
from tests.api.desk import FIGURES, client_of, config_of, desk_of


def test_it_lives_and_is_ready(client: falcon.testing.TestClient) -> None:
    health = msgspec.json.decode(client.simulate_get("/api/health").content, type=Health)
    assert health.status == "live" and health.up_s == FIGURES["up_s"]
    assert client.simulate_get("/api/ready").json == {"status": "ready"}


def test_one_that_does_not_record_lives_and_is_not_ready(tmp_path: Path) -> None:
    client = client_of(desk_of(config_of(tmp_path), {}, "it is starting"))
    assert client.simulate_get("/api/health").status_code == 200
    for path in ("/api/ready", "/api/system/status"):
        answer = client.simulate_get(path)
        assert answer.status_code == 503 and "starting" in answer.json["detail"] and answer.headers["retry-after"] == "1"


def test_the_status_is_the_figures_unchanged(client: falcon.testing.TestClient) -> None:
    answer = client.simulate_get("/api/system/status")
    assert answer.json == FIGURES
    msgspec.json.decode(answer.content, type=SystemStatus)


def test_counters_and_jobs_are_listed(client: falcon.testing.TestClient) -> None:
    figures = msgspec.json.decode(client.simulate_get("/api/metrics").content, type=MetricValues)
    assert ("trades_total", {"venue": "binance.spot"}, 5.0) in [(row.name, row.labels, row.value) for row in figures.metrics]
    jobs = msgspec.json.decode(client.simulate_get("/api/jobs").content, type=Jobs)
    assert [job.name for job in jobs.jobs] == ["write"]
