"""Market data over HTTP: candles of memory and the store, tickers and books of venues, and wrong questions."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import falcon.testing
import msgspec
import pytest

from pumpwatch.api.desk import Desk
from pumpwatch.api.market_answers import OrderBookRow, TickerRow
from pumpwatch.market.service import MarketService
from tests.api.desk import client_of
from tests.market.market_parts import KeptTrades, asker


def asking(desk: Desk, body: dict[str, Any]) -> falcon.testing.TestClient:
    clock = desk.clock
    one = asker(lambda request: json.dumps(body | {"symbol": request.params["symbol"]}).encode(), clock)
    return client_of(dataclasses.replace(desk, market=MarketService(KeptTrades(catalogue=desk.catalogue), None, one, clock)))


def test_the_candles_of_coins_are_those_of_the_trades_in_memory(client: falcon.testing.TestClient, desk: Desk) -> None:
    desk.recent.covers_from_ns = 0  # it has recorded for long: the minute before this one counts, too
    answer = client.simulate_get("/api/candles", query_string="coin=C0,C1&market=spot").json
    counted = sum(row["trades"] for row in answer["candles"])
    ids = [desk.catalogue.matching(coin)[0] for coin in ("C0", "C1")]
    now_ns = desk.clock.now_ns()
    assert counted == len(desk.recent.query(ids, now_ns - 3600 * 10**9, now_ns + 10**9)) > 0
    assert {row["symbol"] for row in answer["candles"]} == {"C0USDT", "C1USDT"} and answer["problems"] == []


def test_statistics_count_the_trades_in_memory(client: falcon.testing.TestClient) -> None:
    rows = client.simulate_get("/api/stats", query_string="coin=C0").json
    assert [row["market_type"] for row in rows] == ["spot", "futures"] and all(row["value"]["trades"] > 0 for row in rows)


def test_tickers_and_books_say_their_source(desk: Desk) -> None:
    tickers = asking(desk, {"lastPrice": "2", "closeTime": 0})
    assert [row["source"] for row in tickers.simulate_get("/api/ticker", query_string="coin=C0").json] == ["venue"] * 2
    row, = tickers.simulate_get("/api/ticker", query_string="coin=C0&market=spot").json
    assert (row["source"], row["value"]["price"], row["value"]["high"]) == ("cache", 2.0, None)
    assert (row["value"]["trades"], row["value"]["change"]) == (None, None), "not known"
    assert msgspec.convert([row], list[TickerRow])[0].value is not None
    books = asking(desk, {"lastUpdateId": 1, "bids": [["1", "1"]], "asks": [["2", "1"]]})
    row, = books.simulate_get("/api/orderbook", query_string="coin=C0&market=spot&depth=5").json
    assert row["value"]["bids"] == [[1.0, 1.0]]
    assert msgspec.convert([row], list[OrderBookRow])[0].value is not None


@pytest.mark.parametrize(("path", "query", "status"), [
    ("candles", "coin=NOPE", 404), ("candles", "coin=C0&interval=7m", 400), ("candles", "coin=C0&from=now&to=-5m", 400),
    ("candles", "coin=C0&from=2016-01-01", 400), ("candles", "coin=C0&from=2016-01-01&limit=1", 400),
    ("orderbook", "coin=C0&depth=1000000000", 400), ("ticker", "coin=C0", 503),
    ("stats", "coin=" + ",".join(["C0"] * 21), 400), ("candles", "", 400)])
def test_wrong_questions_are_refused(client: falcon.testing.TestClient, path: str, query: str, status: int) -> None:
    assert client.simulate_get(f"/api/{path}", query_string=query).status_code == status
