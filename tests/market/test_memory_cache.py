"""A cache in memory keeps its limits of age and bytes, and counts what it does."""

from __future__ import annotations

from pumpwatch.clock import FakeClock
from pumpwatch.market.memory_cache import MemoryCache


def test_a_value_is_there_until_it_is_too_old() -> None:
    clock = FakeClock()
    cache = MemoryCache(10_000, 30, clock)
    cache.put("a", [1], clock.now_ns())
    clock.advance(29)
    found = cache.get("a")
    assert found is not None and found[0] == [1]
    clock.advance(1)
    assert cache.get("a") is None and cache.figures()["entries"] == 0


def test_a_clock_that_is_set_back_does_not_make_a_value_last_for_ever() -> None:
    clock = FakeClock()
    cache = MemoryCache(10_000, 30, clock)
    cache.put("a", 1, clock.now_ns())
    clock.step(-3600)
    assert cache.get("a") is None


def test_the_least_recently_used_value_goes_for_want_of_room() -> None:
    clock = FakeClock()
    cache = MemoryCache(1000, 30, clock, lambda value: 200)
    for key in "ab":
        cache.put(key, key, clock.now_ns())
    assert cache.get("a") is not None
    cache.put("c", "c", clock.now_ns())
    assert cache.get("b") is None and cache.get("a") is not None and cache.get("c") is not None
    figures = cache.figures()
    assert (figures["evictions"], figures["hits"], figures["misses"], figures["entries"]) == (1, 3, 1, 2)
    assert figures["bytes"] <= 1000


def test_a_value_that_never_fits_is_not_kept_and_pushes_nothing_out() -> None:
    clock = FakeClock()
    cache = MemoryCache(1000, 30, clock, len)
    cache.put("a", b"1", clock.now_ns())
    cache.put("b", bytes(5000), clock.now_ns())
    assert cache.get("b") is None and cache.get("a") is not None


def test_a_dropped_value_is_gone() -> None:
    clock = FakeClock()
    cache = MemoryCache(1000, 30, clock)
    cache.put("a", 1, clock.now_ns())
    cache.drop("a")
    cache.drop("never there")
    assert cache.get("a") is None
