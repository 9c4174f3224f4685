"""A venue's limits are kept, whoever asks and whenever."""

from __future__ import annotations

import gevent
from hypothesis import given
from hypothesis import strategies as st

from pumpwatch.clock import Clock, FakeClock
from pumpwatch.net.ratelimit import TokenBucket


@given(st.floats(0.5, 50), st.integers(1, 20), st.lists(st.tuples(st.floats(0, 3), st.integers(1, 5)), max_size=60))
def test_no_window_holds_more_than_the_burst_and_the_rate(rate, burst, calls):
    clock = FakeClock(0)
    bucket = TokenBucket(rate, burst, clock)
    acted: list[tuple[float, int]] = []
    for pause_s, tokens in calls:
        clock.advance(pause_s)
        acted.append((clock.monotonic() + bucket.reserve(tokens), tokens))
    assert [at for at, _ in acted] == sorted(at for at, _ in acted)  # in the order they came
    for first, (begin, _) in enumerate(acted):
        used = 0
        for at, tokens in acted[first:]:
            used += tokens
            assert used <= max(burst, tokens) + rate * (at - begin) + 5 + 1e-6


def test_saved_tokens_are_available_at_once_and_no_more():
    clock = FakeClock()
    bucket = TokenBucket(2.0, 3, clock)
    assert [bucket.reserve() for _ in range(5)] == [0, 0, 0, 0.5, 1.0]
    clock.advance(3600)
    assert [bucket.reserve() for _ in range(4)] == [0, 0, 0, 0.5]


def test_a_pause_lets_nobody_through():
    clock = FakeClock()
    bucket = TokenBucket(10.0, 100, clock)
    bucket.pause(30)
    assert 30 <= bucket.reserve() <= 30.2
    clock.advance(31)
    assert bucket.reserve() == 0


def test_a_pause_never_shortens_one_that_runs():
    clock = FakeClock()
    bucket = TokenBucket(10.0, 100, clock)
    bucket.pause(60)
    bucket.pause(1)
    assert bucket.reserve() >= 60


def test_waiting_callers_are_served_in_order():
    bucket = TokenBucket(200.0, 1, Clock())
    served: list[int] = []

    def take(number: int) -> None:
        bucket.acquire()
        served.append(number)

    gevent.joinall([gevent.spawn(take, number) for number in range(20)])
    assert served == list(range(20))


def test_how_long_tokens_take_can_be_asked_without_using_any():
    clock = FakeClock()
    bucket = TokenBucket(2.0, 4.0, clock)
    assert bucket.wait_s(4) == bucket.wait_s(100) == 0.0  # more than it ever saves up may be taken once it is full
    bucket.reserve(4)
    assert bucket.wait_s(1) == bucket.wait_s(1) == 0.5
    bucket.pause(60.0)
    assert bucket.wait_s(1) == 60.5 and bucket.rate == 2.0


def test_a_part_of_it_is_given_out_more_slowly_and_whoever_waits_keeps_its_time():
    clock = FakeClock()
    bucket = TokenBucket(2.0, 4, clock)
    bucket.use_part(0.5)
    assert [bucket.reserve() for _ in range(4)] == [0, 0, 1.0, 2.0]
    bucket.use_part(1.0)
    assert [bucket.reserve() for _ in range(2)] == [2.5, 3.0]


def test_a_pause_keeps_its_length_when_only_a_part_is_used():
    clock = FakeClock()
    bucket = TokenBucket(10.0, 100, clock)
    bucket.use_part(0.5)
    bucket.pause(30)
    bucket.use_part(1.0)
    assert bucket.wait_s() == 30.1
