"""Rate limits hold for a venue and for an exchange, for connects and for requests."""

from __future__ import annotations

import dataclasses

import pytest

from pumpwatch.clock import FakeClock
from pumpwatch.config import Config
from pumpwatch.feeds.rate_limits import HALF, VenueRateLimits, steady
from pumpwatch.net.ratelimit import TokenBucket
from pumpwatch.plugins import load_plugins
from pumpwatch.venue import Venue

VENUES = {f"{venue.name}:{venue.variant}": venue for venue in load_plugins(Config()).venues}
SHARED = {"bybit", "okx", "kucoin", "phemex"}  # one address for both markets, or no word that they count apart


def most_within(times: list[float], window_s: float) -> int:
    """Return how many of these times lie in the fullest window."""
    return max(sum(start <= at < start + window_s for at in times) for start in times)


@pytest.mark.parametrize("name", ["bybit", "okx", "kucoin", "phemex", "binance", "gate"])
def test_markets_that_are_counted_together_share_a_rate(name):
    limits = VenueRateLimits(FakeClock())
    spot, futures = VENUES[f"{name}.spot:"], VENUES[f"{name}.futures:"]
    shared = name in SHARED
    assert (limits.connects(spot) is limits.connects(futures)) == shared == spot.limits.shared_by_markets
    assert (limits.requests(spot) is limits.requests(futures)) == shared == futures.limits.shared_by_markets
    assert limits.connects(spot) is limits.connects(dataclasses.replace(spot))


@pytest.mark.parametrize(("name", "window_s", "most"), [
    ("kucoin", 60.0, 30), ("okx", 1.4, 3), ("bybit", 300.0, 500), ("phemex", 300.0, 200), ("binance", 300.0, 300)])
def test_two_markets_that_reconnect_at_once_stay_within_the_limit(name, window_s, most):
    clock = FakeClock()
    limits = VenueRateLimits(clock)
    times = [limits.connects(VENUES[f"{name}.{market}:"]).reserve() for _ in range(300) for market in ("spot", "futures")]
    if name not in SHARED:
        times = times[::2]
    assert most_within(times, window_s) <= most


@pytest.mark.parametrize("venue", VENUES.values(), ids=VENUES)
def test_no_window_of_the_venue_holds_more_requests_than_it_allows(venue: Venue):
    clock = FakeClock()
    limits = VenueRateLimits(clock)
    window_s = venue.limits.request_window_s
    allowed = venue.limits.requests_per_minute / 60 * window_s
    step = max(1, int(allowed / 50))  # so many at a time
    times = [limits.requests(venue).reserve(step) for _ in range(200)]
    assert most_within(times, window_s) * step <= allowed


@pytest.mark.parametrize("a_second", [1.0, 2.0, 3.0, 5.0, 10.0, 20.0])
def test_no_second_and_a_half_exceeds_the_limit_of_a_second(a_second):
    clock = FakeClock()
    bucket = TokenBucket(steady(a_second), 1, clock)
    assert most_within([bucket.reserve() for _ in range(200)], 1.45) <= max(2, a_second)


def two_processes(clock: FakeClock) -> tuple[VenueRateLimits, VenueRateLimits]:
    both = VenueRateLimits(clock), VenueRateLimits(clock)
    for limits in both:
        limits.use_part(HALF)
    return both


@pytest.mark.parametrize(("name", "window_s", "most"), [
    ("kucoin", 60.0, 30), ("okx", 1.0, 3), ("bybit", 300.0, 500), ("phemex", 300.0, 200), ("binance", 300.0, 300),
    ("gate", 300.0, 200)])
def test_two_processes_that_share_a_limit_keep_it_together(name, window_s, most):
    both = two_processes(FakeClock())
    times = [limits.connects(VENUES[f"{name}.spot:"]).reserve() for _ in range(300) for limits in both]
    assert most_within(times, window_s) <= most


@pytest.mark.parametrize("venue", VENUES.values(), ids=VENUES)
def test_two_processes_ask_no_more_together_than_one_may(venue: Venue):
    window_s = venue.limits.request_window_s
    allowed = venue.limits.requests_per_minute / 60 * window_s
    step = max(1, int(allowed / 50))
    both = two_processes(FakeClock())
    times = [limits.requests(venue).reserve(step) for _ in range(100) for limits in both]
    assert most_within(times, window_s) * step <= allowed


def test_limits_made_while_they_are_shared_are_shared_and_whole_again_later():
    clock = FakeClock()
    limits = VenueRateLimits(clock)
    before = limits.requests(VENUES["binance.spot:"])
    whole = before.rate
    limits.use_part(HALF)
    later = limits.requests(VENUES["gate.spot:"])
    assert (before.rate, later.rate) == (whole / 2, VenueRateLimits(clock).requests(VENUES["gate.spot:"]).rate / 2)
    limits.use_part(1.0)
    assert before.rate == whole
