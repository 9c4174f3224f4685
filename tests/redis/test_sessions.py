"""Sessions in real servers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pumpwatch.api.sessions import Sessions
from pumpwatch.clock import Clock
from pumpwatch.redis.connection import RedisConnection
from pumpwatch.redis.errors import RedisUnavailable
from pumpwatch.redis.sessions import SharedSessions
from pumpwatch.stats import Stats
from tests.redis.waiting import PATIENT_S, connected, eventually, in_thread, patient
from tests.redis_server import RedisNode, RedisNodes, single

DAY_MS = 86_400_000


@pytest.fixture
def alone(single_redis: RedisNode) -> Iterator[RedisConnection]:
    connection = connected([single_redis.address])
    yield connection
    connection.close()


def sessions_of(connection: RedisConnection) -> Sessions:
    return Sessions("0123456789abcdef", Clock(), Stats(), SharedSessions(connection, PATIENT_S))


def test_a_session_of_one_process_is_known_to_all_and_ends_for_all(redis_cluster: RedisNodes) -> None:
    connections = [connected([address]) for address in redis_cluster.addresses[:2]]
    one, two = map(sessions_of, connections)
    begun = [one.begin() for _ in range(10)]  # on every node
    assert all(two.holds(session) for session in begun)
    for session in begun[:5]:
        two.end(session)
    assert [one.holds(session) for session in begun] == [False] * 5 + [True] * 5
    for connection in connections:
        connection.close()


def test_the_server_has_a_hash_that_lasts_a_day_after_the_last_use(alone: RedisConnection, single_redis: RedisNode) -> None:
    sessions = sessions_of(alone)
    session = sessions.begin()
    (key,) = single_redis.client.keys()
    assert key.startswith("pumpwatch:{session:") and session not in key + single_redis.client.get(key)
    assert DAY_MS - 60_000 < single_redis.client.pttl(key) <= DAY_MS
    single_redis.client.pexpire(key, 60_000)
    assert sessions.holds(session)
    assert DAY_MS - 60_000 < single_redis.client.pttl(key) <= DAY_MS
    single_redis.client.pexpire(key, 1)
    eventually(lambda: not single_redis.client.exists(key), "it has expired")
    assert not sessions.holds(session)


def test_a_key_of_another_type_grants_no_session(alone: RedisConnection, single_redis: RedisNode) -> None:
    sessions, stranger = sessions_of(alone), sessions_of(alone)
    session = sessions.begin()
    (key,) = single_redis.client.keys()
    single_redis.client.delete(key)
    single_redis.client.rpush(key, "a")
    assert not stranger.holds(session)
    with pytest.raises(RedisUnavailable, match="another type"):
        SharedSessions(alone, PATIENT_S).renew(key.rpartition(":")[2].strip("}"), 60)
    assert single_redis.client.lrange(key, 0, -1) == ["a"]


def test_the_process_answers_while_the_server_is_away_and_the_server_learns_of_it_later() -> None:
    with single() as node:
        connection = connected([node.address])
        one, two = sessions_of(connection), sessions_of(connection)
        known, ended = one.begin(), one.begin()
        patient(connection, lambda client: client.save())
        in_thread(node.kill)
        eventually(lambda: not connection.up, "it is away")
        born = one.begin()
        one.end(ended)
        assert [one.holds(session) for session in (known, born, ended)] == [True, True, False]
        in_thread(node.start)
        eventually(lambda: connection.up, "it is back")
        assert [one.holds(session) for session in (known, born, ended)] == [True, True, False]
        assert [two.holds(session) for session in (known, born, ended)] == [True, True, False]
        connection.close()
