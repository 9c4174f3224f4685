"""The API of a collector: what it sees of it, and that it is served while it records."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import gevent
import pytest

from pumpwatch.app.collector import Collector
from pumpwatch.app.serving import Serving
from pumpwatch.config import Config
from pumpwatch.config_api import ApiConfig
from pumpwatch.errors import ConfigError
from pumpwatch.sim.process import SimProcess
from tests.app.collector import CollectorProcess

TOKEN = "a-token-for-the-tests-0123456789"


def test_an_address_that_is_not_allowed_is_refused_before_anything_starts(collector: Collector) -> None:
    collector.config = Config(api=ApiConfig(listen="0.0.0.0:8321"))
    with pytest.raises(ConfigError, match="other machines can reach"):
        Serving(collector, collector.status, collector.jobs)


def test_where_it_is_off_nothing_is_served(collector: Collector) -> None:
    collector.config = Config(api=ApiConfig(listen=False))
    serving = Serving(collector, collector.status, collector.jobs)
    assert serving.service is None
    serving.start()
    serving.stop()


def test_the_desk_says_why_nothing_is_recorded_and_knows_the_venues(collector: Collector) -> None:
    desk = collector.serving.desk
    assert desk.unready() == "it is starting" and desk.figures() == {}
    collector.status.last = {"journal": {"dropped_trades": 5, "backlog_trades": 5}}
    assert desk.unready() == "the disk does not take the trades"
    collector.status.last = {"journal": {"dropped_trades": 5, "backlog_trades": 0}}
    assert desk.unready() == ""
    assert desk.connections("kraken.spot") is None


def get(url: str, **headers: str) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_a_collector_serves_what_it_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUMPWATCH_API__LISTEN", "127.0.0.1:0")
    with SimProcess(venues=["binance.spot", "okx.futures"], symbols=4, rate=200.0, folder=str(tmp_path / "venues")) as sim, \
            CollectorProcess(sim, tmp_path, api={"token": TOKEN}) as collector:
        collector.wait_until(lambda figures: figures["journal"]["durable_trades"] > 200)
        url = re.findall(r"page (http://127\.0\.0\.1:\d+)/", collector.log())[0]
        assert json.loads(get(f"{url}/api/ready")[1]) == {"status": "ready"}
        venues = json.loads(get(f"{url}/api/venues")[1])["venues"]
        assert {(row["exchange"], row["market_type"]) for row in venues} == {("binance", "spot"), ("okx", "futures")}
        (connection,) = json.loads(get(f"{url}/api/venues/okx.futures/connections")[1])["connections"]
        assert connection["up"] and connection["granted"] == connection["symbols"]
        assert json.loads(get(f"{url}/api/system/status")[1])["page"] == f"{url}/"
        recent = json.loads(get(f"{url}/api/trades/recent?coin=BTC")[1])["symbols"]
        assert all(row["price"] > 0 for row in recent) and len(recent) == 2
        stored = [json.loads(line) for line in get(f"{url}/api/trades?coin=BTC")[1].splitlines()]
        kept = {trade["trade_id"] for trade in stored}
        assert {trade["trade_id"] for row in recent for trade in row["trades"]} <= kept
        for asked in ("ticker", "orderbook"):
            rows = json.loads(get(f"{url}/api/{asked}?coin=BTC")[1])
            assert len(rows) == 2 and not any(row["problem"] for row in rows)
        with gevent.Timeout(60):  # until a trade comes that is newer than what the venue has just said
            while not any(row["source"] == "memory" for row in json.loads(get(f"{url}/api/ticker?coin=BTC")[1])):
                gevent.sleep(0.05)
        metrics = get(f"{url}/metrics")[1].decode()
        assert 'pumpwatch_market_cache_entries{cache="books memory"} 2' in metrics
        assert "write" in {row["name"] for row in json.loads(get(f"{url}/api/jobs")[1])["jobs"]}
        assert get(url)[0] == 200 and get(url, Origin="http://evil.example")[0] == 403
        assert collector.stop() == 0
        assert "Traceback" not in collector.log()
