"""Moments are converted between clocks that differ, always to the safe side."""

from __future__ import annotations

from pumpwatch.clock import NS_PER_S, FakeClock
from pumpwatch.cluster.redis_time import RedisTime

S = 1_000_000
REDIS_NOW = 1_900_000_000 * S


def test_before_the_first_answer_nothing_is_known() -> None:
    assert RedisTime(FakeClock()).at_least_us(FakeClock().now_ns()) == 0
    assert RedisTime(FakeClock()).wall_ns(0) == 0


def test_an_answer_that_took_a_while_makes_moments_uncertain_by_as_much() -> None:
    clock = FakeClock()
    time, sent = RedisTime(clock), clock.monotonic()
    clock.advance(0.25)
    time.learn(sent, REDIS_NOW)  # that was somewhere in the last 250 ms
    assert time.at_least_us(clock.now_ns()) == REDIS_NOW
    assert time.at_least_us(clock.now_ns() - 3 * NS_PER_S) == REDIS_NOW - 3 * S
    assert time.at_most_us(clock.monotonic()) == REDIS_NOW + S // 4
    assert time.wall_ns(REDIS_NOW) == clock.now_ns() - NS_PER_S // 4


def test_a_step_of_the_wall_clock_changes_no_moment_of_redis() -> None:
    clock = FakeClock()
    time = RedisTime(clock)
    time.learn(clock.monotonic(), REDIS_NOW)
    clock.step(-30.0)
    clock.advance(2.0)
    assert time.at_least_us(clock.now_ns()) == REDIS_NOW + 2 * S
    assert time.at_least_us(clock.now_ns() + NS_PER_S) == REDIS_NOW + 2 * S  # nothing is read in the future
    assert time.wall_ns(REDIS_NOW) == clock.now_ns() - 2 * NS_PER_S
