"""Two collectors at one address, with one Redis: their limits, sessions and budgets are the same."""

from __future__ import annotations

import re
import socket
import time
from pathlib import Path

import pytest
import requests

from pumpwatch.app.collector import Collector
from pumpwatch.app.shared_limits import be_absent, be_present, shared_limits
from pumpwatch.config_cluster import ClusterConfig
from pumpwatch.config_redis import RedisConfig
from pumpwatch.redis.connection import RedisConnection
from pumpwatch.sim.process import SimProcess
from pumpwatch.stats import Stats
from pumpwatch.supervisor import Supervisor
from tests.app.collector import CollectorProcess
from tests.redis_server import single

TOKEN = "a-token-for-the-tests-0123456789"
HERE = {"Sec-Fetch-Site": "same-origin"}  # a page on this machine, which no limit of the API stops
MOST = 30


def test_without_redis_nothing_is_shared(collector: Collector) -> None:
    assert collector.shared is None
    supervisor = Supervisor(Stats())
    be_present(shared_limits(None, ClusterConfig(), Stats()), supervisor)
    be_absent(None)
    assert supervisor.stop("address", 0.0)


@pytest.mark.parametrize("address", ["", "192.0.2.7"])
def test_the_address_is_that_of_the_config_or_the_name_of_the_host(address: str) -> None:
    connection = RedisConnection(RedisConfig(nodes=["127.0.0.1:1"]))
    shared = shared_limits(connection, ClusterConfig(address=address), Stats())
    assert shared is not None and shared.budgets.name == (address or socket.gethostname())


def page_of(collector: CollectorProcess) -> str:
    collector.wait_for_log("page http")
    return re.findall(r"page (http://127\.0\.0\.1:\d+)/", collector.log())[0]


def figure(url: str, name: str, **labels: str) -> float:
    """Return the sum of a collector's counters of that name and these labels."""
    rows = requests.get(f"{url}/api/metrics", headers=HERE, timeout=60).json()["metrics"]
    return sum(row["value"] for row in rows if row["name"] == name and labels.items() <= row["labels"].items())


def wait_until(url: str, name: str, value: float, **labels: str) -> None:
    deadline = time.monotonic() + 90
    while figure(url, name, **labels) < value:
        assert time.monotonic() < deadline, name
        time.sleep(0.1)


def test_two_collectors_count_together_and_know_each_others_sessions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUMPWATCH_API__LISTEN", "127.0.0.1:0")
    options = {"api": {"token": TOKEN, "requests_per_minute": MOST}, "backfill": {"enabled": False}}
    with single() as redis, SimProcess(venues=["binance.spot"], symbols=2, rate=20.0, folder=str(tmp_path / "venues")) as sim:
        folders = [tmp_path / "one", tmp_path / "two"]
        for folder in folders:
            folder.mkdir()
        collectors = [CollectorProcess(sim, folder, redis={"nodes": [redis.address]}, **options) for folder in folders]
        with collectors[0], collectors[1]:
            one, two = map(page_of, collectors)
            for url in (one, two):
                wait_until(url, "shared_budget_members", 2)
                for name in ("binance.spot", "binance.spot connects"):  # paid for, or `away` on a machine that was too busy then
                    wait_until(url, "shared_budget_requests_total", 1, venue=name)

            begun = requests.post(f"{one}/api/session", headers={"Authorization": f"Bearer {TOKEN}", "Origin": one}, timeout=60)
            assert begun.status_code == 201
            cookie = {"Cookie": f"pumpwatch_session={begun.cookies['pumpwatch_session']}"}
            assert requests.get(f"{two}/api/session", headers=cookie, timeout=60).json()["by"] == "session"

            found = [requests.get(f"{url}/api/health", timeout=60) for url in (one, two) * MOST]
            passed = [answer for answer in found if answer.status_code == 200]
            late = sum(figure(url, "api_limit_checks_total", outcome="away") for url in (one, two))  # on a busy machine
            assert MOST - late <= len(passed) <= MOST + late
            assert {answer.status_code for answer in found} == {200, 429}
            refused = found[-1]
            assert 1 <= int(refused.headers["Retry-After"]) <= 61 and refused.headers["X-RateLimit-Limit"] == str(MOST)

            redis.kill()
            assert requests.get(f"{one}/api/session", headers=cookie, timeout=60).json()["by"] == "session"
            assert requests.get(f"{two}/", timeout=60).status_code == 200
            assert requests.get(f"{two}/api/stream", stream=True, timeout=60).status_code == 200
            before = figure(two, "durable_trades_total")
            wait_until(two, "durable_trades_total", before + 10)
