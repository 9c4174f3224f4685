"""Parts of windows in a real Redis: put, gathered, replaced, bounded, gone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import msgspec
import pytest

from pumpwatch.cluster import window_parts
from pumpwatch.cluster.window_parts import TTL_S, WindowParts, window_name
from pumpwatch.redis.connection import RedisConnection
from pumpwatch.redis.errors import RedisUnavailable
from tests.cluster.windows import END_NS, KITE, START_NS, part_of, same_rows
from tests.listing.market import listing_of
from tests.redis.waiting import connected, eventually, in_thread
from tests.redis_server import RedisNode, RedisNodes
from tests.trades import batch_of

SPOT, FUTURES, BETA = KITE
WINDOW, SPAN = window_name([listing_of()]), [(START_NS, END_NS)]


@pytest.fixture
def redis(single_redis: RedisNode) -> Iterator[RedisConnection]:
    connection = connected([single_redis.address])
    yield connection
    connection.close()


def test_the_leader_gathers_the_parts_of_the_others_on_a_cluster_of_nodes(redis_cluster: RedisNodes,
                                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window_parts, "PIECE_BYTES", 1000)
    connection = connected(redis_cluster.addresses)
    parts = {name: part_of(name, [number]) for name, number in zip("abc", KITE, strict=True)}
    for name, part in parts.items():
        entry = WindowParts(connection, "t", "x", name).put(WINDOW, part)
        assert entry.pieces > 3 and entry.trades == len(part.batch)
    found, missing = WindowParts(connection, "t", "x", "a").gather(WINDOW, SPAN)
    assert [part.facts for part in found] == [parts["b"].facts, parts["c"].facts] and missing == {}
    assert all(same_rows(part.batch, parts[part.facts.member].batch) for part in found)
    connection.close()


def test_a_newer_part_replaces_an_older_one_and_everything_ends(redis: RedisConnection, single_redis: RedisNode) -> None:
    own, other = WindowParts(redis, "t", "x", "a"), WindowParts(redis, "t", "x", "b")
    first = part_of("b", [SPOT])
    other.put(WINDOW, first)
    second = part_of("b", [SPOT, FUTURES])
    second = type(second)(msgspec.structs.replace(second.facts, made_at_ns=first.facts.made_at_ns + 1, final=True), second.batch)
    other.put(WINDOW, second)
    (found,), _ = own.gather(WINDOW, SPAN)
    assert found.facts.final and len(found.batch) == len(second.batch)
    keys = single_redis.ask("KEYS", "t:*")
    assert len(keys) == 2 and all(0 < single_redis.ask("TTL", key) <= TTL_S for key in keys)


def test_a_part_that_is_gone_or_damaged_is_named(redis: RedisConnection, single_redis: RedisNode) -> None:
    own = WindowParts(redis, "t", "x", "a")
    for name in ("b", "c", "d"):
        WindowParts(redis, "t", "x", name).put(WINDOW, part_of(name, [SPOT]))
    for key in single_redis.ask("KEYS", "t:*:b:*"):
        single_redis.ask("DEL", key)
    for key in single_redis.ask("KEYS", "t:*:c:*"):
        single_redis.ask("SETRANGE", key, 100, "damage")
    found, missing = own.gather(WINDOW, SPAN)
    assert [part.facts.member for part in found] == ["d"]
    assert missing == {"b": "its part is gone or damaged", "c": "its part is gone or damaged"}


def test_a_part_that_does_not_fit_is_not_put_and_says_so(redis: RedisConnection, single_redis: RedisNode) -> None:
    small = WindowParts(redis, "t", "x", "b", parts_bytes=20_000)
    large = small.put(WINDOW, part_of("b", [], batch=batch_of(5000, instruments=3)))
    assert large.pieces == 0 and "does not fit" in large.problem
    assert len(single_redis.ask("KEYS", "t:*")) == 1
    found, missing = WindowParts(redis, "t", "x", "a").gather(WINDOW, SPAN)
    assert found == [] and "does not fit" in missing["b"]


def test_nothing_is_put_or_found_while_redis_is_away(redis: RedisConnection, single_redis: RedisNode) -> None:
    parts = WindowParts(redis, "t", "x", "a")
    in_thread(single_redis.kill)
    try:
        eventually(lambda: not redis.up, "it is away")
        with pytest.raises(RedisUnavailable):
            parts.put(WINDOW, part_of("a", [SPOT]))
        with pytest.raises(RedisUnavailable):
            parts.gather(WINDOW, SPAN)
    finally:
        in_thread(single_redis.start)


def test_a_window_has_one_name_for_all_members_and_windows_of_a_day_are_distinguished(redis: RedisConnection) -> None:
    first, other = listing_of(after_s=1), replace(listing_of(after_s=9, notice_id="2"), source="web", exchange="upbit")
    assert window_name([first]) == window_name([other]) == window_name([other, first])
    assert len({window_name([each]) for each in (first, replace(first, drill=True), replace(first, source="bithumb"),
                                                 listing_of("OTHER"))}) == 4
    parts = WindowParts(redis, "t", "x", "b")
    part = part_of("b", [SPOT])
    parts.put(WINDOW, part)
    later = msgspec.structs.replace(part.facts, intervals=((END_NS + 5, END_NS + 9),), made_at_ns=part.facts.made_at_ns + 1)
    parts.put(WINDOW, replace(part, facts=later))
    own = WindowParts(redis, "t", "x", "a")
    assert [found.facts for found in own.gather(WINDOW, SPAN)[0]] == [part.facts]
    assert [found.facts for found in own.gather(WINDOW, later.intervals)[0]] == [later]
    assert own.gather(WINDOW, [(END_NS + 20, END_NS + 30)]) == ([], {})
