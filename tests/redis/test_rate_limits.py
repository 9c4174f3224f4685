"""The script of the sliding window on real servers: races, clocks, and whatever happens to its key."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis

from pumpwatch.net.sliding_window import SlidingWindows
from pumpwatch.redis.connection import RedisConnection, Script
from pumpwatch.redis.errors import RedisUnavailable
from pumpwatch.redis.rate_limits import APPEAR, CLOCK, HOLD, TAKE, SharedApiLimit, SharedWindows, tagged
from tests.redis.waiting import PATIENT_S, connected, eventually, in_thread, patient
from tests.redis_server import RedisNode, RedisNodes

KEY = "pumpwatch:{limit:a}"
SECOND_US = 1_000_000
SET_CLOCK = "local now = tonumber(ARGV[#ARGV])\n"  # instead of the server's


@pytest.fixture
def alone(single_redis: RedisNode) -> Iterator[RedisConnection]:
    connection = connected([single_redis.address])
    yield connection
    connection.close()


@pytest.fixture
def cluster(redis_cluster: RedisNodes) -> Iterator[RedisConnection]:
    connection = connected(redis_cluster.addresses[:3])
    yield connection
    connection.close()


class AtOurTime:
    """The scripts with a clock that a test sets."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._take, self._hold, self._appear = (Script(source.replace(CLOCK, SET_CLOCK)) for source in (TAKE, HOLD, APPEAR))

    def take(self, now_us: int, limit: int = 3, weight: int = 1, least: int | None = None) -> Any:
        return self._take(self._client, [KEY], [limit, 60 * SECOND_US, weight, weight if least is None else least, now_us])

    def hold(self, now_us: int, held_us: int) -> Any:
        return self._hold(self._client, [KEY], [held_us, now_us])

    def appear(self, now_us: int, member: str) -> Any:
        return self._appear(self._client, [KEY], [member, 30 * SECOND_US, now_us])


@pytest.fixture
def scripts(single_redis: RedisNode) -> AtOurTime:
    return AtOurTime(single_redis.client)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 20_000), st.integers(1, 4)), max_size=40), st.integers(4, 12))
def test_the_script_and_the_memory_agree(scripts: AtOurTime, single_redis: RedisNode, steps: list[tuple[int, int]],
                                         limit: int) -> None:
    single_redis.ask("DEL", KEY)
    memory, now_us = SlidingWindows(limit, 60.0), 1_700_000_000_000_000
    for pause_ms, weight in steps:
        now_us += pause_ms * 1000
        granted, remaining, wait_us, reset_us, at = scripts.take(now_us, limit, weight=weight)
        verdict = memory.take("a", now_us / 1e6, weight)
        assert (granted, remaining, at) == (verdict.granted, verdict.remaining, now_us)
        assert (wait_us / 1e6, reset_us / 1e6) == pytest.approx((verdict.wait_s, verdict.reset_s), abs=0.002)
    assert single_redis.client.hlen(KEY) <= 65


def test_a_part_of_the_wanted_weight_is_granted_if_it_is_enough(scripts: AtOurTime) -> None:
    assert [scripts.take(10**15, 10, weight=6, least=least)[0] for least in (6, 5, 4, 1)] == [6, 0, 4, 0]


def test_a_held_window_grants_nothing_even_when_it_is_empty(scripts: AtOurTime) -> None:
    now = 10**15
    assert scripts.take(now)[0] == 1
    assert scripts.hold(now, 200 * SECOND_US) == 200 * SECOND_US
    assert scripts.hold(now, 5 * SECOND_US) == 200 * SECOND_US  # the longer one stays
    for passed_s in (1, 100, 199):
        granted, _, wait_us, *_ = scripts.take(now + passed_s * SECOND_US)
        assert (granted, wait_us) == (0, (200 - passed_s) * SECOND_US)
    assert scripts.take(now + 200 * SECOND_US)[:2] == [1, 2]


def test_a_clock_that_is_set_back_grants_no_more_and_blocks_for_a_window_at_most(scripts: AtOurTime) -> None:
    now = 10**15
    assert [scripts.take(now)[0] for _ in range(3)] == [1, 1, 1]
    assert scripts.take(now - 30 * SECOND_US)[0] == 0
    granted, _, wait_us, *_ = scripts.take(now - 59 * SECOND_US)
    assert granted == 0 and wait_us <= 61 * SECOND_US
    assert scripts.take(now - 3600 * SECOND_US)[:2] == [1, 2]  # a wrong time was put right: it begins anew
    assert scripts.take(now)[0] == 1


def test_members_count_until_they_have_been_silent_for_a_while(scripts: AtOurTime) -> None:
    now = 10**15
    assert [scripts.appear(now, name) for name in ("a", "b", "a")] == [1, 2, 2]
    assert scripts.appear(now + 20 * SECOND_US, "b") == 2
    assert scripts.appear(now + 31 * SECOND_US, "c") == 2
    assert scripts.appear(now - 3600 * SECOND_US, "d") == 1  # the others are of a clock that was wrong


def test_a_window_goes_by_itself(alone: RedisConnection, single_redis: RedisNode) -> None:
    windows = SharedWindows(alone, PATIENT_S)
    assert windows.take("limit", KEY, 5, 0.2).granted == 1
    windows.hold("limit", KEY, 0.2, 0.4)
    eventually(lambda: single_redis.client.dbsize() == 0, "both have expired")


def test_a_weight_beyond_the_limit_is_a_mistake_of_the_caller(alone: RedisConnection) -> None:
    for weight, least in ((4, None), (4, 4), (1, 2), (1, -1)):
        with pytest.raises(ValueError, match="never within"):
            SharedWindows(alone, PATIENT_S).take("limit", KEY, 3, 60.0, weight, least)


def test_windows_of_another_length_count_apart(alone: RedisConnection) -> None:
    windows = SharedWindows(alone, PATIENT_S)
    assert [windows.take("limit", KEY, 1, window_s).allowed for window_s in (60.0, 61.0, 60.0)] == [True, True, False]


def test_a_key_with_any_parts_has_one_hash_tag() -> None:
    assert tagged("p", "budget", "a}{b", "binance.spot", rest=":x") == "p:{budget:a)(b:binance.spot}:x"


RACER = """
import sys, threading, time
from redis import Redis
port, key, limit, window_us, windows, source = sys.argv[1:]
client, found = Redis(port=int(port), protocol=2, socket_timeout=60), []
take = client.register_script(source)
def run():
    ends = None
    while ends is None or at < ends:
        weight = 1 + len(found) % 3
        granted, _, wait_us, _, at = take([key], [limit, window_us, weight, 1])
        ends = ends or at + int(window_us) * int(windows)
        if granted:
            found.append(f"{at} {granted}")
        else:
            time.sleep(min(0.01, wait_us / 1e6))
threads = [threading.Thread(target=run) for _ in range(2)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print("\\n".join(found))
"""


def test_eight_clients_at_once_never_get_more_than_the_limit_in_any_window(single_redis: RedisNode) -> None:
    """By the times that Redis itself answered with."""
    limit, window_us = 40, 200_000
    words = [sys.executable, "-c", RACER, str(single_redis.port), KEY, str(limit), str(window_us), "5", TAKE]
    racers = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    lines = [line for racer in racers for line in racer.communicate()[0].splitlines()]
    granted = sorted((int(at), int(weight)) for at, weight in map(str.split, lines))
    assert [racer.returncode for racer in racers] == [0] * 4
    held, first = 0, 0
    for at, weight in granted:
        held += weight
        while granted[first][0] <= at - window_us:
            held -= granted[first][1]
            first += 1
        assert held <= limit
    assert sum(weight for _, weight in granted) >= 3 * limit  # and the limit is used


def test_a_script_that_was_flushed_is_sent_again(cluster: RedisConnection, redis_cluster: RedisNodes) -> None:
    windows = SharedWindows(cluster, PATIENT_S)
    assert windows.take("limit", KEY, 5, 60.0).remaining == 4
    in_thread(redis_cluster.master_of(KEY).ask, "SCRIPT FLUSH")
    assert windows.take("limit", KEY, 5, 60.0).remaining == 3


def test_a_fail_over_keeps_the_counts(cluster: RedisConnection, redis_cluster: RedisNodes) -> None:
    windows = SharedWindows(cluster, PATIENT_S)
    assert windows.take("limit", KEY, 5, 600.0, 4).remaining == 1
    in_thread(redis_cluster.fail_over, KEY)
    verdict = answered(lambda: windows.take("limit", KEY, 5, 600.0, 2))
    assert not verdict.allowed and verdict.remaining == 1


def test_a_killed_master_is_an_error_at_once_and_its_replica_goes_on(cluster: RedisConnection, redis_cluster: RedisNodes) -> None:
    windows = SharedWindows(cluster, PATIENT_S)
    old = in_thread(redis_cluster.master_of, KEY)
    assert windows.take("limit", KEY, 5, 600.0, 4).remaining == 1
    in_thread(lambda: old.client.execute_command("WAIT", 1, 20_000))
    in_thread(old.kill)
    with pytest.raises(RedisUnavailable):
        windows.take("limit", KEY, 5, 600.0)
    in_thread(redis_cluster.wait_for_fail_over, KEY, old)
    assert answered(lambda: windows.take("limit", KEY, 5, 600.0)).allowed
    assert not windows.take("limit", KEY, 5, 600.0).allowed


def answered(ask: Callable[[], Any]) -> Any:
    """Ask until Redis answers."""
    def asked() -> Any:
        try:
            return ask()
        except RedisUnavailable:
            return None

    return eventually(asked, "Redis answers")


def test_a_key_of_another_type_is_an_error_and_stays_unchanged(alone: RedisConnection) -> None:
    windows = SharedWindows(alone, PATIENT_S)
    patient(alone, lambda client: client.set(f"{KEY}:60", "text"))
    with pytest.raises(RedisUnavailable) as caught:
        windows.take("limit", KEY, 5, 60.0)
    assert caught.value.kind == "wrong_type" and alone.up
    assert patient(alone, lambda client: client.get(f"{KEY}:60")) == b"text"


def test_the_limit_of_the_api_counts_each_client(alone: RedisConnection) -> None:
    limit = SharedApiLimit(SharedWindows(alone, PATIENT_S))
    clients = ("token", "token", "address:::1", "token")
    assert [limit.take(client, 2, 60.0).allowed for client in clients] == [True, True, True, False]
