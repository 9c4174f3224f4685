"""Work for all members is done by one, and by another one where that dies; what comes late does not count."""

from __future__ import annotations

from collections.abc import Iterator

import gevent
import pytest

from pumpwatch.cluster.work_claims import WorkClaims
from pumpwatch.redis.connection import RedisConnection
from tests.redis.waiting import connected, eventually
from tests.redis_server import RedisNode

LEASE_S = 0.3


@pytest.fixture
def redis(single_redis: RedisNode) -> Iterator[RedisConnection]:
    connection = connected([single_redis.address])
    yield connection
    connection.close()


def test_one_member_has_the_turn_and_nobody_once_it_is_done(redis: RedisConnection) -> None:
    a, b = WorkClaims(redis, "once", "a", 60.0), WorkClaims(redis, "once", "b", 60.0)
    assert b.state("backup", "monday") == "free"
    turn = a.claim("backup", "monday")
    assert turn and turn.id.startswith("a@") and b.claim("backup", "monday") is None and b.state("backup", "monday") == "held"
    assert a.finish(turn, 60.0) and a.finish(turn, 60.0), "it may be noted again, for longer"
    assert b.state("backup", "monday") == "done" and a.claim("backup", "monday") is None
    assert b.state("backup", "tuesday") == "held", "it is at it until it says otherwise"
    with a.kept(turn):
        pass
    assert b.claim("backup", "tuesday")


def test_after_the_lease_of_a_dead_member_another_one_has_the_turn_and_the_first_is_rejected(redis: RedisConnection) -> None:
    a, b = WorkClaims(redis, "once", "a", LEASE_S), WorkClaims(redis, "once", "b", 60.0)
    late = a.claim("backup", "monday")
    assert late
    turn = eventually(lambda: b.claim("backup", "monday"), "the lease has ended")
    assert not a.renew(late) and not a.finish(late, 60.0) and b.state("backup", "monday") == "held"
    assert b.finish(turn, 60.0) and not a.finish(late, 60.0)
    again = WorkClaims(redis, "once", "a", LEASE_S).claim("other", "monday")
    assert again
    eventually(lambda: b.state("other", "monday") == "free", "its lease has ended")
    assert a.finish(again, 60.0), "nobody took the turn meanwhile"


def test_a_turn_is_kept_while_it_is_used(redis: RedisConnection) -> None:
    a, b = WorkClaims(redis, "once", "a", LEASE_S), WorkClaims(redis, "once", "b", LEASE_S)
    turn = a.claim("backup", "monday")
    assert turn
    with a.kept(turn):
        for _ in range(12):
            gevent.sleep(LEASE_S / 4)
            assert b.state("backup", "monday") == "held"
    assert b.state("backup", "monday") == "free"


def test_an_emptied_redis_is_told_what_was_done(redis: RedisConnection, single_redis: RedisNode) -> None:
    a, b = WorkClaims(redis, "once", "a", 60.0), WorkClaims(redis, "once", "b", 60.0)
    turn = a.claim("backup", "monday")
    assert turn and a.finish(turn, 60.0)
    single_redis.ask("FLUSHALL")
    a.record_done("backup", "monday", 60.0)
    assert b.state("backup", "monday") == "done" and b.claim("backup", "monday") is None
    assert 0 < int(single_redis.ask("PTTL", "pumpwatch:{cluster:once}:once:backup:monday")) <= 60_000
