"""A key is fetched once, however many ask for it, and a refusal is remembered shortly."""

from __future__ import annotations

import gevent
import pytest
from gevent.event import Event

from pumpwatch.clock import FakeClock
from pumpwatch.errors import ServiceUnavailable
from pumpwatch.market.memory_cache import MemoryCache
from pumpwatch.market.pull_through import REFUSED_S, PullThrough


def made(clock: FakeClock) -> tuple[PullThrough[int], dict[str, MemoryCache]]:
    tiers = {"cache": MemoryCache(10_000, 30, clock), "disk": MemoryCache(10_000, 60, clock)}
    return PullThrough(dict(tiers), clock), tiers


def never() -> int:
    raise AssertionError("it was asked")


def test_the_venue_is_asked_once_and_then_memory_answers_then_the_disk() -> None:
    clock = FakeClock()
    pulled, tiers = made(clock)
    assert pulled.get("a", lambda: 7) == (7, clock.now_ns(), "venue")
    assert pulled.get("a", never)[2] == "cache"
    tiers["cache"].drop("a")
    assert pulled.get("a", never)[2] == "disk"
    assert pulled.get("a", never)[2] == "cache", "what the disk has is kept in memory again"


def test_many_who_ask_at_once_cost_one_request() -> None:
    clock, ready = FakeClock(), Event()
    pulled, _ = made(clock)
    asked: list[int] = []

    def fetch() -> int:
        asked.append(1)
        ready.wait(5)
        return 7

    crowd = [gevent.spawn(pulled.get, "a", fetch) for _ in range(50)]
    gevent.sleep(0)
    ready.set()
    gevent.joinall(crowd, timeout=5, raise_error=True)
    assert {job.value[0] for job in crowd} == {7} and len(asked) == 1


def test_many_who_ask_a_venue_that_refuses_cost_one_request() -> None:
    clock = FakeClock()
    pulled, _ = made(clock)
    asked: list[int] = []

    def fetch() -> int:
        asked.append(1)
        gevent.sleep(0)
        raise ServiceUnavailable("HTTP 503")

    crowd = [gevent.spawn(pulled.get, "a", fetch) for _ in range(20)]
    gevent.joinall(crowd, timeout=5)
    assert all(isinstance(job.exception, ServiceUnavailable) for job in crowd) and len(asked) == 1


def test_a_refusal_is_forgotten_after_a_while() -> None:
    clock = FakeClock()
    pulled, _ = made(clock)
    with pytest.raises(ServiceUnavailable, match="HTTP 503"):
        pulled.get("a", lambda: (_ for _ in ()).throw(ServiceUnavailable("HTTP 503")))
    with pytest.raises(ServiceUnavailable, match="HTTP 503"):
        pulled.get("a", never)
    clock.advance(REFUSED_S)
    assert pulled.get("a", lambda: 8)[0] == 8


def test_a_value_older_than_what_is_known_is_dropped() -> None:
    clock = FakeClock()
    pulled, tiers = made(clock)
    pulled.get("a", lambda: 7)
    clock.advance(1)
    assert pulled.get("a", lambda: 8, newer_ns=clock.now_ns())[:1] == (8,)
    assert pulled.cached("a", clock.now_ns() + 1) is None
    assert tiers["cache"].get("a") is None


def test_an_error_of_another_kind_leaves_no_one_waiting() -> None:
    pulled, _ = made(FakeClock())
    with pytest.raises(ZeroDivisionError):
        pulled.get("a", lambda: 1 // 0)
    assert pulled.get("a", lambda: 9)[0] == 9
