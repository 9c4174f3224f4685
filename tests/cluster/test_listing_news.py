"""News of listings between members, on a real Redis: at once, in order, and not lost on the way."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import gevent
import pytest

from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.cluster.listing_news import ListingNews
from pumpwatch.cluster.news import Message, NoticesNews, SentNews, SightNews, encode_message
from pumpwatch.model import Listing, Notice
from pumpwatch.redis.connection import RedisConnection
from pumpwatch.redis.errors import RedisUnavailable
from pumpwatch.stats import Stats
from tests.cluster.tellers import CLUSTER, Teller, tellers
from tests.redis.waiting import connected, eventually, in_thread
from tests.redis_server import RedisNode, RedisNodes


def listing_now(coin: str = "KITE", notice_id: str = "1") -> Listing:
    now_ns = time.time_ns()
    return Listing(source="upbit", notice_id=notice_id, symbol=coin, title=f"{coin} listed", announced_at_ns=now_ns - NS_PER_S,
                   detected_at_ns=now_ns, triggered_at_ns=now_ns)


def notices(*numbers: int, source: str = "upbit") -> list[tuple[Notice, str, str]]:
    return [(Notice(source=source, notice_id=str(number), title=f"notice {number}", category="", published_at_ns=1,
                    updated_at_ns=1, raw="x" * 100), "other", f"r{number}") for number in numbers]


def known(teller: Teller, *numbers: int) -> dict[str, str]:
    return teller.ledger.seen_notices("upbit", [str(number) for number in numbers])


def test_a_sight_reaches_the_others_on_a_cluster_of_nodes(redis_cluster: RedisNodes, tmp_path: Path) -> None:
    with tellers(tmp_path, redis_cluster.addresses, "a", "b", "c") as (a, b, c):
        eventually(lambda: b.news.caught_up and c.news.caught_up, "both listen")
        a.sharing.remember_notices(notices(1))
        a.sharing.first_look_done("upbit")
        assert a.sharing.remember_listing(listing_now())
        eventually(lambda: b.coins() == c.coins() == ["KITE"], "both open the window")
        assert a.coins() == []  # its own registry opens it
        eventually(lambda: known(b, 1) == {"1": "r1"}, "it knows the notice")
        with tellers(tmp_path, redis_cluster.addresses, "d") as (late,):
            eventually(lambda: late.coins() == ["KITE"] and known(late, 1) and late.ledger.notice_count("upbit"), "it knows all")


def test_the_second_sight_of_a_notice_opens_nothing_and_the_earlier_one_counts(single_redis: RedisNode, tmp_path: Path) -> None:
    with tellers(tmp_path, [single_redis.address], "a", "b") as (a, b):
        later = listing_now()
        earlier = Listing(**{name: getattr(later, name) for name in later.__slots__} | {
            "detected_at_ns": later.detected_at_ns - 300, "announced_at_ns": later.announced_at_ns})
        assert b.sharing.remember_listing(later)
        assert a.sharing.remember_listing(earlier)
        eventually(lambda: b.earlier and a.earlier, "each has heard of the other's sight")
        for teller in (a, b):
            (record,) = teller.ledger.listings()
            (sight,) = teller.ledger.sights_of(record.listing)
            assert record.listing.detected_at_ns == sight.seen_at_ns == earlier.detected_at_ns
            assert sight.member == "a" and teller.opened == []


def test_missed_news_is_read_from_the_stream(single_redis: RedisNode, tmp_path: Path) -> None:
    with tellers(tmp_path, [single_redis.address], "a") as (a,):
        for number in range(700):  # more than a page
            a.news.publish(SentNews(f"event {number}"))
        a.sharing.remember_notices(notices(*range(450)))
        a.sharing.first_look_done("upbit")
        a.sharing.remember_listing(listing_now())
        eventually(lambda: not a.news._waiting, "all is kept")
    with tellers(tmp_path, [single_redis.address], "b") as (b,):
        eventually(lambda: b.coins() == ["KITE"], "the window is opened")
        assert b.told == [f"event {number}" for number in range(700)]
        eventually(lambda: len(known(b, *range(450))) == 450 and b.ledger.notice_count("upbit"), "the board is known")


def test_news_waits_while_redis_is_away_and_keeps_its_order(single_redis: RedisNode, tmp_path: Path) -> None:
    with tellers(tmp_path, [single_redis.address], "a", "b") as (a, b):
        eventually(lambda: a.news.caught_up and b.news.caught_up, "both listen")
        in_thread(single_redis.kill)
        eventually(lambda: not a.redis.up and not b.redis.up, "it is away")
        a.sharing.remember_listing(listing_now("ONE", "1"))
        a.sharing.remember_listing(listing_now("TWO", "2"))
        gevent.sleep(0.1)
        assert b.coins() == []
        in_thread(single_redis.start)
        eventually(lambda: b.coins() == ["ONE", "TWO"], "it comes afterwards")


def test_a_board_that_is_known_is_read_again_after_redis_was_emptied(single_redis: RedisNode, tmp_path: Path) -> None:
    with tellers(tmp_path, [single_redis.address], "a") as (a,):
        eventually(lambda: a.news.caught_up, "it listens")
        for number in range(3):
            a.sharing.remember_notices(notices(number))
        a.sharing.first_look_done("upbit")
        with tellers(tmp_path, [single_redis.address], "b") as (b,):
            eventually(lambda: len(known(b, 0, 1, 2)) == 3, "it has caught up")
            single_redis.ask("FLUSHALL")
            a.sharing.remember_notices(notices(7))
            a.sharing.first_look_done("upbit")
            b.news._on_gap()
            eventually(lambda: known(b, 7) == {"7": "r7"}, "it knows the notice")


def test_unreadable_news_is_counted_and_an_invalid_sight_is_rejected(single_redis: RedisNode, tmp_path: Path) -> None:
    with tellers(tmp_path, [single_redis.address], "a") as (a,):
        eventually(lambda: a.news.caught_up, "it listens")
        a.news._received(b"{}")
        a.news._received(b'{"member":"x","begun_ns":1,"number":1,"sent_at_ns":1,"news":{"type":"other"}}')
        wrong = listing_now("../x")
        for number, listing in enumerate((wrong, listing_now("GOOD"))):
            a.news._received(encode_message(Message("b", 1, number, time.time_ns(), SightNews(listing))))
        eventually(lambda: a.coins() == ["GOOD"], "the good one opens its window")
        assert a.stats.get("cluster_news_unreadable_total") == 2 and a.stats.get("cluster_news_rejected_total") == 1


def test_a_message_that_comes_twice_acts_once(single_redis: RedisNode) -> None:
    heard: list[Message] = []
    redis = connected([single_redis.address])
    news = ListingNews(redis, "tests", CLUSTER, "a", Clock(), Stats(), heard.append)
    body = encode_message(Message("b", 1, 1, 5, SentNews("x")))
    news._received(body)
    news._received(body)
    news._received(encode_message(Message("a", news._begun_ns, 1, 5, SentNews("own"))))
    redis.close()
    assert [message.number for message in heard] == [1]


class LateOnce:
    """A connection whose first answer with a notice comes too late, although Redis has carried the call out."""

    def __init__(self, redis: RedisConnection) -> None:
        self._redis, self.late = redis, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._redis, name)

    def call(self, operation: str, function: Callable[[Any], Any], within_s: float) -> Any:
        answer = self._redis.call(operation, function, within_s)
        if "notice_id" in repr(answer) and not self.late:
            self.late += 1
            raise RedisUnavailable("redis: read news took longer than 2 s", "late")
        return answer


def test_notices_whose_answer_came_too_late_are_read_again(single_redis: RedisNode, tmp_path: Path) -> None:
    with tellers(tmp_path, [single_redis.address], "a") as (a,):
        a.sharing.remember_notices(notices(1, 2))
        a.sharing.first_look_done("upbit")
        eventually(lambda: not a.news._waiting, "all is kept")
    heard: list[Message] = []
    redis = connected([single_redis.address])
    slow = LateOnce(redis)
    news = ListingNews(cast("RedisConnection", slow), "tests", CLUSTER, "b", Clock(), Stats(), heard.append)
    with pytest.raises(RedisUnavailable):
        news._read()
    news._read()
    redis.close()
    assert slow.late == 1
    rows = [row for message in heard if isinstance(message.news, NoticesNews) for row in message.news.rows]
    assert [notice.notice_id for notice, _, _ in rows] == ["1", "2"]
