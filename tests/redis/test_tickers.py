"""Tickers and last prices on a real cluster."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest

from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.redis.connection import RedisConnection
from pumpwatch.redis.errors import RedisUnavailable
from pumpwatch.redis.tickers import LAST_S, LastPrices, SharedTickers
from pumpwatch.ticker import Ticker
from tests.redis.waiting import connected, eventually, patient
from tests.redis_server import RedisNodes

KEY = "binance.futures.C0.USDT"  # a symbol may hold a dot


@pytest.fixture
def redis(redis_cluster: RedisNodes) -> Iterator[RedisConnection]:
    found = connected(redis_cluster.addresses)
    yield found
    found.close()


def test_a_ticker_comes_back_with_its_age_and_its_unknown_fields(redis: RedisConnection) -> None:
    clock = Clock()
    cache = SharedTickers(redis, 300.0, clock)
    cache.put(KEY, Ticker(price=2.0, volume=5.0), clock.now_ns() - 100 * NS_PER_S)
    ticker, at_ns = eventually(lambda: cache.get(KEY), "it is there")
    assert ticker.price == 2.0 and math.isnan(ticker.high) and ticker.trades == -1
    assert 99 < (clock.now_ns() - at_ns) / NS_PER_S < 160
    cache.drop(KEY)
    eventually(lambda: cache.get(KEY) is None, "it is gone")
    cache.put(KEY, Ticker(price=2.0), clock.now_ns() - 301 * NS_PER_S)
    assert redis.figures()["queued"] == 0  # too old to be put


def test_an_older_ticker_does_not_replace_a_newer_one(redis: RedisConnection) -> None:
    """As where one process has an old one on its disk, and Redis was late when it was asked."""
    clock = Clock()
    cache = SharedTickers(redis, 300.0, clock)
    for price, age_s in ((1.0, 200), (2.0, 0), (3.0, 200)):
        cache.put(KEY, Ticker(price=price), clock.now_ns() - age_s * NS_PER_S)
    eventually(lambda: redis.figures()["queued"] == 0, "all were sent")
    patient(redis, lambda client: None)
    ticker, _ = eventually(lambda: (found := cache.get(KEY)) and found[0].price != 1.0 and found, "they are there")
    assert ticker.price == 2.0


def test_an_invalid_ticker_counts_as_absent(redis: RedisConnection) -> None:
    cache = SharedTickers(redis, 300.0, Clock())
    patient(redis, lambda client: client.set("pumpwatch:{ticker:binance.futures:C0.USDT}", b"nonsense", px=9000))
    assert cache.get(KEY) is None and cache.figures()["failures"] == 1


def test_of_two_collectors_the_newer_price_of_each_symbol_stays(redis: RedisConnection, redis_cluster: RedisNodes) -> None:
    other = connected(redis_cluster.addresses)
    one, two, now_ns = LastPrices(redis), LastPrices(other), 1_764_000_000_000_000_001
    one.put("binance.spot", {"A": (now_ns, 1.5), "B": (now_ns, 2.5)})
    eventually(lambda: len(two.of([("binance.spot", "A")])), "it is there")
    two.put("binance.spot", {"A": (now_ns - 1, 9.0), "B": (now_ns + 1, 0.1 + 0.2)})
    two.put("gate.spot", {"A": (5, 7.0)})
    wanted = [("binance.spot", "A"), ("binance.spot", "B"), ("binance.spot", "NONE"), ("gate.spot", "A"), ("none.spot", "A")]
    found = eventually(lambda: len(read := one.of(wanted)) == 3 and read, "all are there")
    assert found == {("binance.spot", "A"): (now_ns, 1.5), ("binance.spot", "B"): (now_ns + 1, 0.1 + 0.2),
                     ("gate.spot", "A"): (5, 7.0)}
    assert 0 < patient(redis, lambda client: client.ttl("pumpwatch:{last:gate.spot}")) <= LAST_S
    other.close()


def test_an_invalid_price_is_an_error(redis: RedisConnection) -> None:
    patient(redis, lambda client: client.hset("pumpwatch:{last:gate.spot}", "A", "nonsense"))
    with pytest.raises(RedisUnavailable, match="not a price"):
        LastPrices(redis).of([("gate.spot", "A")])
