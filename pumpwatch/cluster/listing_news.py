"""Publishes news of listings to the other members of a cluster, and receives theirs, including missed ones.

A message is published, which takes a few ms, and kept in a stream for a day, where members that were not listening read it. The
notices of each board are kept too, so that a member that begins to poll the board knows which are new. News keeps its order, and
waits while Redis is away. A member acts on each message once.

Keys, all with the hash tag of the cluster: `stream` (the news), `looks` (the boards whose first look is done), `board:SOURCE`
(their notices), `order:SOURCE` (the ids of notices by the number of their last message), and `told` (the last number).
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Any

import gevent
import msgspec
from gevent.event import Event

from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.cluster.news import FirstLookNews, Message, News, NoticesNews, decode_message, encode_message
from pumpwatch.model import Notice
from pumpwatch.redis.connection import RedisConnection
from pumpwatch.redis.errors import RedisUnavailable
from pumpwatch.stats import Stats

log = logging.getLogger(__name__)

KEPT_S = 24 * 3600.0
KEPT_MESSAGES = 20_000
NOTICES_KEPT = 20_000  # of one board
BOARD_KEPT_S = 90 * 24 * 3600.0
WAITING_MAX = 20_000  # news that waits for Redis
READ_AGAIN_S = 5.0  # a message that was lost on the way is found in the stream within this time
RETRY_S = 0.5
ANSWER_S = 2.0  # for calls in the background
PAGE = 500

Row = tuple[Notice, str, str]

# keys: notices, their order, the number; arguments: the most to keep, seconds, then an id and a row each
REMEMBER = """
local number = redis.call('INCR', KEYS[3])
for at = 3, #ARGV, 2 do
  redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 1])
  redis.call('ZADD', KEYS[2], number, ARGV[at])
end
for _, id in ipairs(redis.call('ZRANGE', KEYS[2], 0, -tonumber(ARGV[1]) - 1)) do
  redis.call('HDEL', KEYS[1], id)
  redis.call('ZREM', KEYS[2], id)
end
for _, key in ipairs(KEYS) do redis.call('EXPIRE', key, ARGV[2]) end
return number
"""


class ListingNews:
    """The news of one member.

    on_message: called on the hub, once for each message of another member. The known notices of a board come as messages without
    a member.
    """

    def __init__(self, redis: RedisConnection, prefix: str, cluster: str, member: str, clock: Clock, stats: Stats,
                 on_message: Callable[[Message], None]) -> None:
        self._redis, self._clock, self._stats, self.member = redis, clock, stats, member
        self._tag = f"{prefix}:{{cluster:{cluster}}}"
        self.channel = f"{self._tag}:news"
        self._on_message = on_message
        self._waiting: deque[Message] = deque()
        self._known: dict[tuple[str, int, int], None] = {}
        self._begun_ns, self._number = clock.now_ns(), 0
        self._last_id = b"0-0"
        self._remember = redis.script(REMEMBER)
        self._numbers: dict[str, float] = {}  # by board: the number of the last notices that were read
        self._looked: set[str] = set()  # boards whose first look was reported here
        self._wake = Event()
        self._stopped = self._missed = False
        self.caught_up = False  # the earlier news of others was read

    def publish(self, news: News) -> None:
        """Publish news to every other member. Never waits, never raises."""
        self._number += 1
        message = Message(self.member, self._begun_ns, self._number, self._clock.now_ns(), news)
        self._redis.publish(self.channel, encode_message(message))
        self._waiting.append(message)
        if len(self._waiting) > WAITING_MAX:
            self._waiting.popleft()
            self._stats.add("cluster_news_dropped_total")
        self._wake.set()

    def run(self) -> None:
        """Store published news in the stream, and read missed news there, until `stop`."""
        subscription = self._redis.listen(self.channel, self._received, self._on_gap)
        read_s = float("-inf")
        try:
            while not self._stopped:
                self._wake.clear()
                try:
                    while self._waiting:
                        message = self._waiting[0]
                        self._keep(message)
                        if self._waiting and self._waiting[0] is message:  # else it was dropped meanwhile
                            self._waiting.popleft()
                    if self._missed or self._clock.monotonic() - read_s >= READ_AGAIN_S:
                        self._missed = False
                        self._read()
                        read_s = self._clock.monotonic()
                except RedisUnavailable as error:
                    log.debug("news of listings waits reason=%s", error.message)
                    gevent.sleep(RETRY_S)
                    continue
                self._wake.wait(READ_AGAIN_S)
        finally:
            subscription.close()

    def stop(self) -> None:
        """End `run`."""
        self._stopped = True
        self._wake.set()

    def _on_gap(self) -> None:
        """Read the stream, because messages may have been missed."""
        self._missed = True
        self._wake.set()

    def _received(self, body: bytes) -> None:
        try:
            message = decode_message(body)
        except msgspec.DecodeError:
            self._stats.add("cluster_news_unreadable_total")
            return
        self._deliver(message)

    def _deliver(self, message: Message) -> None:
        if (message.member, message.begun_ns) == (self.member, self._begun_ns) or message.key in self._known:
            return
        self._known[message.key] = None
        while len(self._known) > KEPT_MESSAGES:
            del self._known[next(iter(self._known))]
        self._stats.add("cluster_news_total")
        self._stats.set("cluster_news_delay_s", max(0.0, (self._clock.now_ns() - message.sent_at_ns) / NS_PER_S))
        self._on_message(message)

    def _keep(self, message: Message) -> None:
        """Store a message for members that are not listening. Raises RedisUnavailable."""
        news, body = message.news, encode_message(message)
        self._redis.call("keep news", lambda client: self._store(client, message, news, body), ANSWER_S)
        if self._clock.now_ns() - message.sent_at_ns > NS_PER_S:  # Redis was away when it was published
            self._redis.publish(self.channel, body)

    def _store(self, client: Any, message: Message, news: News, body: bytes) -> None:
        if isinstance(news, NoticesNews):
            pairs = [text for row in news.rows for text in (row[0].notice_id.encode(), msgspec.json.encode(row))]
            self._remember(client, [f"{self._tag}:board:{news.source}", f"{self._tag}:order:{news.source}", f"{self._tag}:told"],
                           [NOTICES_KEPT, int(BOARD_KEPT_S), *pairs])
            return
        if isinstance(news, FirstLookNews):
            client.hset(f"{self._tag}:looks", news.source, str(message.sent_at_ns))
            client.expire(f"{self._tag}:looks", int(BOARD_KEPT_S))
        stream = f"{self._tag}:stream"
        client.xadd(stream, {"m": body}, maxlen=KEPT_MESSAGES, approximate=True)
        client.expire(stream, int(KEPT_S))

    def _read(self) -> None:
        """Deliver unknown messages of the stream, then new notices of the boards. Raises RedisUnavailable."""
        oldest_ns = self._clock.now_ns() - int(KEPT_S * NS_PER_S)
        while entries := self._redis.call("read news", lambda client: client.xrange(
                f"{self._tag}:stream", min=b"(" + self._last_id, count=PAGE), ANSWER_S):
            for entry_id, fields in entries:
                self._last_id = entry_id
                try:
                    message = decode_message(fields[b"m"])
                except (msgspec.DecodeError, KeyError):
                    self._stats.add("cluster_news_unreadable_total")
                    continue
                if message.sent_at_ns >= oldest_ns:
                    self._deliver(message)
            gevent.sleep(0.0001)
        for source in self._redis.call("read news", lambda client: client.hkeys(f"{self._tag}:looks"), ANSWER_S):
            self._read_board(source.decode("utf-8", "replace"))
        self.caught_up = True

    def _read_board(self, source: str) -> None:
        """Deliver the notices of a board that were published since the last time. Raises RedisUnavailable."""
        rows: list[Row] = []
        since = self._numbers.get(source, 0.0)
        bodies, upto = self._redis.call("read news", lambda client: self._rows_of(client, source, since), ANSWER_S)
        for body in bodies:
            try:
                rows.append(msgspec.json.decode(body or b"", type=Row))
            except msgspec.DecodeError:
                self._stats.add("cluster_news_unreadable_total")
        for start in range(0, len(rows), PAGE):
            self._on_message(Message("", 0, 0, self._clock.now_ns(), NoticesNews(source, tuple(rows[start:start + PAGE]))))
        self._numbers[source] = upto  # not before the rows have come: a late answer is discarded
        if source not in self._looked:
            self._looked.add(source)
            self._on_message(Message("", 0, 0, self._clock.now_ns(), FirstLookNews(source)))

    def _rows_of(self, client: Any, source: str, since: float) -> tuple[list[bytes | None], float]:
        """Return a board's rows after number `since`, and the last number; all rows if Redis was emptied. It runs in a thread."""
        if since > int(client.get(f"{self._tag}:told") or 0):
            since = 0.0
        found = client.zrangebyscore(f"{self._tag}:order:{source}", f"({since}", "+inf", withscores=True)
        rows: list[bytes | None] = client.hmget(f"{self._tag}:board:{source}", [notice for notice, _ in found]) if found else []
        return rows, max((number for _, number in found), default=since)
