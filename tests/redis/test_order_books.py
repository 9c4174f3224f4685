"""Shared order books on real servers: whole books, best prices, ages, and what happens without Redis."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.order_book import LEVELS, OrderBook
from pumpwatch.redis.connection import RedisConnection
from pumpwatch.redis.errors import RedisUnavailable
from pumpwatch.redis.order_books import TTL_S, RedisOrderBooks, SharedBooks, tagged, text
from tests.redis.waiting import connected, eventually, kind_of, patient
from tests.redis_server import RedisNode, RedisNodes, single

VENUE, SYMBOL, KEY = "binance.spot", "C0USDT", "binance.spot.C0USDT"
BOOK = OrderBook(bids=[(100.5 - at / 10, 1 + at / 7) for at in range(LEVELS)],
                 asks=[(100.6 + at / 10, 2 + at / 7) for at in range(LEVELS)], at_ns=1_764_000_000_123_456_789, sequence=7)


@pytest.fixture
def redis(redis_cluster: RedisNodes) -> Iterator[RedisConnection]:
    found = connected(redis_cluster.addresses)
    yield found
    found.close()


@pytest.fixture
def books(redis: RedisConnection) -> RedisOrderBooks:
    return RedisOrderBooks(redis)


def test_a_whole_book_comes_back_as_it_was(books: RedisOrderBooks) -> None:
    assert books.read(VENUE, SYMBOL) is None and books.best(VENUE, SYMBOL) is None
    assert books.put(VENUE, SYMBOL, BOOK)
    found = books.read(VENUE, SYMBOL)
    assert found is not None and found[0] == BOOK and 0 <= found[1] < TTL_S
    three = books.read(VENUE, SYMBOL, 3)
    assert three is not None and three[0] == BOOK.best(3)
    assert books.best(VENUE, SYMBOL) == (BOOK.bids[0], BOOK.asks[0])


def test_a_side_or_both_may_be_empty(books: RedisOrderBooks) -> None:
    for book in (OrderBook(bids=[], asks=[(2.0, 1.0)]), OrderBook(bids=[], asks=[])):
        books.put(VENUE, SYMBOL, book)
        found = books.read(VENUE, SYMBOL)
        assert found is not None and found[0] == book
    assert books.best(VENUE, SYMBOL) == (None, None)


def test_every_key_of_a_book_is_in_one_slot_and_goes_after_a_minute(books: RedisOrderBooks, redis_cluster: RedisNodes) -> None:
    books.put(VENUE, "ODD{SYMBOL}", BOOK)
    node = redis_cluster.master_of(f"pumpwatch:{{book:{VENUE}:{tagged('ODD{SYMBOL}')}}}:bids")
    keys = sorted(node.ask("KEYS", "*"))
    assert [key.rpartition(":")[2] for key in keys] == ["asks", "bids", "levels"]
    assert len({node.ask("CLUSTER KEYSLOT", key) for key in keys}) == 1
    assert all(0 < node.ask("PTTL", key) <= TTL_S * 1000 for key in keys)


def test_a_book_that_came_earlier_does_not_replace_a_later_one(books: RedisOrderBooks) -> None:
    books.put(VENUE, SYMBOL, BOOK)
    assert not books.put(VENUE, SYMBOL, OrderBook(bids=[(1.0, 1.0)], asks=[]), age_s=20.0)
    found = books.read(VENUE, SYMBOL)
    assert found is not None and found[0] == BOOK


def test_one_text_for_each_price() -> None:
    assert text(1) == text(1.0) == "1.0" and float(text(0.1 + 0.2)) == 0.1 + 0.2 and text(1e-9) == "1e-09"


def test_an_invalid_book_and_a_key_of_another_type_are_errors(books: RedisOrderBooks, redis: RedisConnection) -> None:
    levels, bids = (f"pumpwatch:{{book:{VENUE}:{SYMBOL}}}:{part}" for part in ("levels", "bids"))
    books.put(VENUE, SYMBOL, BOOK)
    patient(redis, lambda client: client.hset(levels, "b100.5", "nonsense"))
    with pytest.raises(RedisUnavailable, match="not an order book"):
        books.read(VENUE, SYMBOL)
    patient(redis, lambda client: client.hdel(levels, "b100.5"))
    with pytest.raises(RedisUnavailable, match="not an order book"):
        books.read(VENUE, SYMBOL)
    patient(redis, lambda client: client.set(bids, "text"))
    with pytest.raises(RedisUnavailable, match="a key holds another type"):
        books.read(VENUE, SYMBOL)
    cache = SharedBooks(redis, 30.0, Clock())
    assert cache.get(KEY) is None and cache.figures()["failures"] == 1
    assert kind_of(redis, lambda client: client.ping()) == "ok"


def test_another_process_reads_a_stored_book(redis: RedisConnection, redis_cluster: RedisNodes) -> None:
    other, clock = connected(redis_cluster.addresses), Clock()
    writes, reads = SharedBooks(redis, 30.0, clock), SharedBooks(other, 30.0, clock)
    assert reads.get(KEY) is None
    writes.put(KEY, BOOK, clock.now_ns() - 5 * NS_PER_S)
    book, at_ns = eventually(lambda: reads.get(KEY), "it is there")
    assert book == BOOK and 4 < (clock.now_ns() - at_ns) / NS_PER_S < 40
    writes.drop(KEY)
    eventually(lambda: reads.get(KEY) is None, "it is gone")
    figures = reads.figures()
    assert figures["hits"] >= 1 and figures["misses"] >= 2 and figures["hit_age_s"] > 4
    assert other.figures()["counts"]["hits"] == figures["hits"]
    other.close()


def test_a_book_older_than_it_may_be_is_a_miss(redis: RedisConnection) -> None:
    clock = Clock()
    cache = SharedBooks(redis, 30.0, clock)
    RedisOrderBooks(redis).put(VENUE, SYMBOL, BOOK, age_s=31.0)
    assert cache.get(KEY) is None and cache.figures()["misses"] == 1


def test_without_redis_nothing_is_there_and_nothing_is_raised() -> None:
    with single() as node:
        connection = connected([node.address])
        cache = SharedBooks(connection, 30.0, Clock())
        node.kill()
        eventually(lambda: kind_of(connection, lambda client: client.ping()) == "away", "it is away")
        assert cache.get(KEY) is None
        cache.put(KEY, BOOK, 0)
        cache.drop(KEY)
        assert cache.figures()["failures"] == 1
        connection.close()


def test_a_single_server_holds_books_as_well(single_redis: RedisNode) -> None:
    connection = connected([single_redis.address])
    books = RedisOrderBooks(connection)
    books.put(VENUE, SYMBOL, BOOK)
    assert books.best(VENUE, SYMBOL) == (BOOK.bids[0], BOOK.asks[0])
    connection.close()
