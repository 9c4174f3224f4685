"""/api/trades: a coin's stored trades, through a real process."""

from __future__ import annotations

import json
import time
from pathlib import Path

import falcon.testing
import pytest

from pumpwatch.api.desk import Desk
from tests.api.desk import TRADES, fill_journal
from tests.api.served import Served


def test_every_stored_trade_of_a_coin_comes_once(served: Served) -> None:
    ids: list[str] = []
    for coin in ("C0", "C1", "C2", "C3"):
        answer = served.ask(b"GET /api/trades?coin=%s&from=-2h HTTP/1.0\r\nHost: localhost\r\n\r\n" % coin.encode())
        rows = [json.loads(line) for line in answer.partition(b"\r\n\r\n")[2].splitlines()]
        assert {row["symbol"] for row in rows} == {f"{coin}USDT"}
        assert [row["timestamp"] for row in rows] == sorted(row["timestamp"] for row in rows)
        ids += [row["trade_id"] for row in rows]
    assert sorted(map(int, ids)) == list(range(1, TRADES + 1))


def test_a_client_that_goes_away_costs_one_process_and_the_next_one_is_served(served: Served) -> None:
    for _ in range(3):
        with served.connect() as connection:
            connection.sendall(b"GET /api/trades?coin=C0&from=-2h HTTP/1.1\r\nHost: localhost\r\n\r\n")
    deadline = time.monotonic() + 60
    while b'"C0USDT"' not in served.ask(b"GET /api/trades?coin=C0&from=-2h HTTP/1.0\r\nHost: localhost\r\n\r\n"):
        assert time.monotonic() < deadline


@pytest.mark.parametrize(("query", "status"), [
    ("", 400), ("coin=", 400), ("coin=../x", 400), ("coin=C0&from=2016-01-01&to=2026-01-01", 400),
    ("coin=C0&from=now&to=-1h", 400), ("coin=C0&from=soon", 400), ("coin=C0&format=xml", 400), ("coin=C0&market=margin", 400),
    ("coin=C0&coin=C1", 400),
    ("coin=C0&from=999999999999999999", 400), ("coin=NOPE", 404)])
def test_an_invalid_query_gets_a_clear_error(client: falcon.testing.TestClient, tmp_path: Path, query: str, status: int) -> None:
    answer = client.simulate_get("/api/trades", query_string=query)
    assert answer.status_code == status and answer.json["detail"]
    assert "regex" not in answer.text and "Expected" not in answer.text


def test_an_unknown_exchange_is_refused_with_the_known_names(desk: Desk, client: falcon.testing.TestClient) -> None:
    answer = client.simulate_get("/api/trades", query_string="coin=C0&exchange=binnance")
    assert answer.status_code == 404 and "binance, bybit" in answer.json["detail"]
    assert desk.stats.get("api_readers_started_total") == 0


def test_one_request_at_a_time_keeps_a_process_the_others_are_told_to_come_back(
        desk: Desk, client: falcon.testing.TestClient, tmp_path: Path) -> None:
    from pumpwatch.api import reader_pool

    fill_journal(tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader_pool, "WAIT_S", 0.05)
        first = client.simulate_get("/api/trades", query_string="coin=C0&from=-2h")
        assert first.status_code == 200 and first.content.count(b"\n") > 100
        assert desk.readers._free.acquire(timeout=0)
        busy = client.simulate_get("/api/trades", query_string="coin=C0&from=-2h")
        assert busy.status_code == 503 and busy.headers["retry-after"] == "5"
        desk.readers._free.release()
    assert client.simulate_get("/api/trades", query_string="coin=C0&from=-2h&market=futures").content.count(b"\n") > 50
