"""One shared cache is asked, counted, and left alone for a moment after a late answer."""

from __future__ import annotations

from pumpwatch.config_redis import RedisConfig
from pumpwatch.redis.cache_counts import CacheCounts
from pumpwatch.redis.connection import RedisConnection
from pumpwatch.redis.errors import RedisUnavailable


def raising(kind: str) -> None:
    raise RedisUnavailable("redis: no", kind)


def test_hits_misses_and_old_answers_are_counted() -> None:
    redis = RedisConnection(RedisConfig(nodes=["127.0.0.1:1"]))
    counts = CacheCounts(redis)
    assert counts.read(lambda: 3.0, lambda age_s: age_s, 10.0) == 3.0
    assert counts.read(lambda: 11.0, lambda age_s: age_s, 10.0) is None
    assert counts.read(lambda: None, lambda age_s: 0.0, 10.0) is None
    figures = counts.figures()
    assert (figures["hits"], figures["misses"], figures["hit_age_s"]) == (1, 2, 3.0)
    assert redis.figures()["counts"] == {"hits": 1, "misses": 2}


def test_after_a_late_answer_it_is_not_asked_for_a_moment() -> None:
    counts = CacheCounts(RedisConnection(RedisConfig(nodes=["127.0.0.1:1"])))
    assert counts.read(lambda: raising("away"), lambda age_s: 0.0, 10.0) is None
    assert counts.read(lambda: 1.0, lambda age_s: age_s, 10.0) == 1.0
    assert counts.read(lambda: raising("late"), lambda age_s: 0.0, 10.0) is None
    assert counts.read(lambda: 1.0, lambda age_s: age_s, 10.0) is None
    assert counts.figures()["failures"] == 2
