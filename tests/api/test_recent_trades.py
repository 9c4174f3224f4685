"""The last trades of a coin, from memory."""

from __future__ import annotations

import threading

import falcon.testing
import numpy as np
import pytest

from pumpwatch.api import recent_trades
from pumpwatch.api.desk import Desk
from pumpwatch.api.encodings import TradeRow, trade_rows
from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.model import TradeBatch
from pumpwatch.store.recent import extract


def test_the_last_trades_and_the_price_of_every_symbol_are_those_of_memory(
        client: falcon.testing.TestClient, desk: Desk) -> None:
    now_ns = Clock().now_ns()
    held = desk.recent.held(now_ns - 60 * NS_PER_S, now_ns)
    answer = client.simulate_get("/api/trades/recent", query_string="coin=c1&limit=7").json
    assert answer["coin"] == "C1" and [row["market_type"] for row in answer["symbols"]] == ["spot", "futures"]
    for row, number in zip(answer["symbols"], desk.catalogue.matching("C1"), strict=True):
        batch = extract(held, [number], 0, 2**62)
        assert [trade["trade_id"] for trade in row["trades"]] == list(map(str, batch.trade_id[-7:].tolist()))
        assert row["price"] == batch.price[-1] and row["at_ns"] == batch.timestamp[-1]


def test_the_rows_are_made_off_the_hub(client: falcon.testing.TestClient, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []

    def watched(batch: TradeBatch, catalogue: Catalogue) -> list[TradeRow]:
        threads.append(threading.get_native_id())
        return trade_rows(batch, catalogue)

    monkeypatch.setattr(recent_trades, "trade_rows", watched)
    assert client.simulate_get("/api/trades/recent", query_string="coin=C1&limit=200").json["symbols"]
    assert threads and threading.get_native_id() not in threads, "200 trades of 60 symbols take a tenth of a second"


def test_a_symbol_without_trades_in_memory_has_no_price(client: falcon.testing.TestClient, desk: Desk) -> None:
    desk.recent._buckets.clear()
    answer = client.simulate_get("/api/trades/recent", query_string="coin=C0").json
    assert [(row["price"], row["at_ns"], row["trades"]) for row in answer["symbols"]] == [(None, None, [])] * 2


def test_a_quiet_symbol_beside_a_busy_one_is_found_further_back(client: falcon.testing.TestClient, desk: Desk) -> None:
    from tests.trades import batch_of

    old = batch_of(1, instruments=1, start_ns=Clock().now_ns() - 200 * NS_PER_S, first_id=77)
    desk.recent._buckets.clear()
    desk.recent.add(old)
    busy = batch_of(300, start_ns=Clock().now_ns() - 3 * NS_PER_S, step_ns=1_000_000)
    desk.recent.add(busy.take(np.flatnonzero(busy.instrument == 1)))
    answer = client.simulate_get("/api/trades/recent", query_string="coin=C0&limit=5").json
    assert [trade["trade_id"] for trade in answer["symbols"][0]["trades"]] == ["77"]
    assert len(answer["symbols"][1]["trades"]) == 5


def test_an_unknown_coin_is_not_found(client: falcon.testing.TestClient) -> None:
    assert client.simulate_get("/api/trades/recent", query_string="coin=NOPE").status_code == 404
    assert client.simulate_get("/api/trades/recent").status_code == 400
