"""Two services of market data, as in two processes, share what one of them has asked for and seen."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from pumpwatch.clock import Clock
from pumpwatch.market.disk_cache import BOOK_S, TICKER_S
from pumpwatch.market.service import MarketService
from pumpwatch.redis.connection import RedisConnection
from pumpwatch.redis.market_tiers import shared_market
from pumpwatch.venue import HttpRequest
from tests.market.market_parts import KeptTrades, asker, refused, trades_at
from tests.redis.waiting import connected, eventually
from tests.redis_server import RedisNodes


@pytest.fixture
def pair(redis_cluster: RedisNodes) -> Iterator[tuple[RedisConnection, RedisConnection]]:
    found = connected(redis_cluster.addresses), connected(redis_cluster.addresses)
    yield found
    for connection in found:
        connection.close()


def answer(request: HttpRequest) -> bytes:
    now_ms = Clock().now_ns() // 10**6
    if "depth" in request.path:
        return json.dumps({"lastUpdateId": 1, "T": now_ms, "bids": [["100", "1"]], "asks": [["101", "1"]]}).encode()
    return json.dumps({"symbol": request.params["symbol"], "lastPrice": "2", "openPrice": "1", "closeTime": now_ms}).encode()


def test_without_redis_nothing_is_shared() -> None:
    assert shared_market(None, TICKER_S, BOOK_S, Clock()) is None


def test_an_answer_of_one_process_serves_the_others(pair: tuple[RedisConnection, RedisConnection]) -> None:
    clock, trades = Clock(), KeptTrades()
    one, other = (MarketService(trades, None, asker(reply, clock), clock, shared=shared_market(redis, TICKER_S, BOOK_S, clock))
                  for redis, reply in zip(pair, (answer, refused), strict=True))
    assert [one.get_orderbook("C0", market="spot")[0].source, one.get_ticker("C0", market="spot")[0].source] == ["venue"] * 2
    book = eventually(lambda: (found := other.get_orderbook("C0", market="spot", ask=False)[0]).value and found, "it is shared")
    assert book.source == "redis" and book.value.bids == [(100.0, 1.0)] and book.age_s < 60
    ticker = eventually(lambda: (found := other.get_ticker("C0", market="spot", ask=False)[0]).value and found, "it is shared")
    assert ticker.source == "redis" and ticker.value.price == 2.0
    assert other.get_orderbook("C0", market="spot", ask=False)[0].source == "cache"
    assert other.figures()["books redis"]["hits"] == 1


def test_a_price_that_a_collector_has_seen_is_known_to_all(pair: tuple[RedisConnection, RedisConnection]) -> None:
    clock, trades = Clock(), KeptTrades()
    shared = [shared_market(redis, TICKER_S, BOOK_S, clock) for redis in pair]
    assert shared[0] is not None
    now_ns = clock.now_ns()
    shared[0].prices.put("binance.spot", {"C1USDT": (now_ns - 10**9, 7.5), "C2USDT": (now_ns - 301 * 10**9, 1.0)})
    other = MarketService(trades, None, None, clock, shared=shared[1])
    eventually(lambda: shared[1] and shared[1].prices.of([("binance.spot", "C1USDT")]), "it is there")
    found = other.get_ticker("C1", market="spot")[0]
    assert found.source == "redis" and found.value is not None and found.value.price == 7.5 and found.age_s >= 1
    assert other.get_ticker("C2", market="spot")[0].value is None  # too long ago


def test_an_older_price_of_redis_does_not_hide_a_newer_trade_nor_the_other_way(
        pair: tuple[RedisConnection, RedisConnection]) -> None:
    clock = Clock()
    shared = shared_market(pair[0], TICKER_S, BOOK_S, clock)
    assert shared is not None
    now_ns, name = clock.now_ns(), ("binance.spot", "C0USDT")
    shared.prices.put(name[0], {name[1]: (now_ns - 240 * 10**9, 7.0)})
    eventually(lambda: shared.prices.of([name]), "it is there")
    reads = MarketService(KeptTrades(trades_at((now_ns - 10**9, 9.0, 1.0))), None, None, clock, shared=shared)
    found = reads.get_ticker("C0", market="spot")[0]
    assert found.source == "journal" and found.value is not None and found.value.price == 9.0
    no_longer = MarketService(KeptTrades(), None, None, clock, shared=shared)
    no_longer.note_trades(trades_at((now_ns - 280 * 10**9, 5.0, 1.0)))
    found = no_longer.get_ticker("C0", market="spot")[0]
    assert found.source == "redis" and found.value is not None and found.value.price == 7.0
    collects = MarketService(KeptTrades(), None, None, clock, shared=shared)
    collects.note_trades(trades_at((now_ns - 200 * 10**9, 8.0, 1.0)))
    found = collects.get_ticker("C0", market="spot")[0]
    assert found.source == "memory" and found.value is not None and found.value.price == 8.0
