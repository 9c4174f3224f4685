"""Work for all members is done by the first one that asks, and by the same one when it tries again."""

from __future__ import annotations

from pumpwatch.cluster.work_claims import WorkClaims
from tests.redis.waiting import connected
from tests.redis_server import RedisNode


def test_the_first_member_that_asks_does_it_and_may_try_again(single_redis: RedisNode) -> None:
    redis = connected([single_redis.address])
    try:
        a, b = WorkClaims(redis, "once", "a"), WorkClaims(redis, "once", "b")
        assert [a.claims("backup:1", 60), b.claims("backup:1", 60), a.claims("backup:1", 60)] == [True, False, True]
        assert b.claims("backup:2", 60)
    finally:
        redis.close()
