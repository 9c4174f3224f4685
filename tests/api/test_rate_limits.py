"""How many requests a client has, and whom they are counted for."""

from __future__ import annotations

import base64
from collections.abc import Mapping

import pytest

from pumpwatch.api.rate_limits import PAGE_REQUESTS, WINDOW_S, RateLimits
from pumpwatch.api.route import Problem
from pumpwatch.api.sessions import Sessions
from pumpwatch.clock import FakeClock
from pumpwatch.errors import ServiceUnavailable
from pumpwatch.net.sliding_window import RateVerdict, SlidingWindows
from pumpwatch.stats import Stats

TOKEN = "0123456789abcdef"
BEARER = {"authorization": f"Bearer {TOKEN}"}
ELSEWHERE = "192.0.2.7"


class Shared:
    """Counts for several processes, unless it is away. asked: for whom."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock, self._windows = clock, SlidingWindows(3, WINDOW_S)
        self.asked: list[str] = []
        self.away = False

    def take(self, client: str, limit: int, window_s: float) -> RateVerdict:
        self.asked.append(client)
        if self.away:
            raise ServiceUnavailable("away")
        return self._windows.take(client, self._clock.monotonic())


class Desk:
    """Limits of three requests, and what they count."""

    def __init__(self, per_minute: int = 3, shared: bool = False) -> None:
        self.clock, self.stats = FakeClock(), Stats()
        self.sessions = Sessions(TOKEN, self.clock, self.stats)
        self.shared = Shared(self.clock)
        self._per_minute, self._is_shared = per_minute, shared
        self.limits = self.another()

    def another(self) -> RateLimits:
        """Return the limits of another process."""
        return RateLimits(self._per_minute, ("/", "/page.js"), self.sessions, self.clock, self.stats,
                          self.shared if self._is_shared else None)

    def asks(self, path: str = "/api/venues", headers: Mapping[str, str] | None = None, address: str = ELSEWHERE,
             limits: RateLimits | None = None) -> tuple[int, Mapping[str, str]]:
        """Return the status of a request as far as limits are concerned, and the headers of its answer."""
        try:
            return 200, (limits or self.limits).admit(path, headers or {}, address).headers
        except Problem as problem:
            return problem.status, problem.headers

    def most(self, headers: Mapping[str, str] | None = None, address: str = ELSEWHERE, path: str = "/api/venues") -> int:
        """Ask until it is refused; return how often it was not, at most 10 times."""
        return next((number for number in range(10) if self.asks(path, headers, address)[0] != 200), 10)


def test_an_answer_says_what_is_left_and_a_refusal_when_to_come_back() -> None:
    desk = Desk()
    assert desk.asks()[1] == {"X-RateLimit-Limit": "3", "X-RateLimit-Remaining": "2", "X-RateLimit-Reset": "61"}
    desk.clock.advance(10)
    assert [desk.asks()[1]["X-RateLimit-Remaining"] for _ in range(2)] == ["1", "0"]
    assert desk.asks() == (429, {"Retry-After": "51", "X-RateLimit-Limit": "3", "X-RateLimit-Remaining": "0",
                                 "X-RateLimit-Reset": "61"})
    desk.clock.advance(51)
    assert desk.asks()[0] == 200 and desk.stats.get("api_limited_total", kind="address") == 1


def test_the_token_a_session_and_an_address_are_counted_apart() -> None:
    desk = Desk()
    basic = {"authorization": "Basic " + base64.b64encode(f"me:{TOKEN}".encode()).decode()}
    sessions = [{"cookie": f"pumpwatch_session={desk.sessions.begin()}"} for _ in range(2)]
    assert [desk.most(), desk.most(address="192.0.2.8"), desk.most(BEARER), *map(desk.most, sessions)] == [3, 3, 3, 3, 3]
    assert desk.most(basic, "192.0.2.9") == 0  # the token has one limit, wherever its holder is
    assert desk.most({"authorization": "Bearer wrong"}) == 0  # and whoever has not got it is an address
    assert desk.most({"cookie": f"pumpwatch_session={'x' * 43}"}) == 0


def test_zero_is_no_limit() -> None:
    desk = Desk(0)
    assert desk.most() == 10 and desk.asks() == (200, {})


def test_the_page_and_its_events_have_a_limit_of_their_own() -> None:
    desk = Desk()
    assert [desk.most(path=path) for path in ("/", "/page.js", "/api/stream", "/api/venues")] == [10, 10, 10, 3]
    for _ in range(PAGE_REQUESTS):
        desk.asks("/")
    assert desk.asks("/")[0] == 429


@pytest.mark.parametrize("path", ["/%61pi/venues", "/metrics", "/nothing", "//page.js", "/page.js/"])
def test_what_is_no_file_of_the_page_counts_as_a_call_of_the_api(path: str) -> None:
    assert Desk().most(path=path) == 3


@pytest.mark.parametrize(("address", "site", "most"), [
    ("127.0.0.1", "same-origin", 10), ("::1", "same-origin", 10), ("::ffff:127.0.0.1", "same-origin", 10),
    ("127.0.0.1", "cross-site", 3), ("127.0.0.1", "", 3), (ELSEWHERE, "same-origin", 3), ("nonsense", "same-origin", 3)])
def test_a_page_on_this_machine_may_ask_beyond_the_limit(address: str, site: str, most: int) -> None:
    assert Desk().most({"sec-fetch-site": site}, address) == most


def test_processes_that_share_count_together() -> None:
    desk = Desk(shared=True)
    both = [desk.limits, desk.another()]
    assert [desk.asks(limits=both[number % 2])[0] for number in range(5)] == [200, 200, 200, 429, 429]


def test_a_client_that_must_wait_costs_no_more_questions() -> None:
    desk = Desk(shared=True)
    other = desk.another()
    assert [desk.asks(limits=other)[0] for _ in range(3)] == [200] * 3
    assert desk.asks()[0] == 429
    asked = len(desk.shared.asked)
    assert [desk.asks(limits=limits)[0] for limits in (desk.limits, other) * 10] == [429] * 20
    assert len(desk.shared.asked) == asked
    desk.clock.advance(int(desk.asks()[1]["Retry-After"]))
    assert desk.asks()[0] == 200


def test_while_nobody_answers_each_process_counts_by_itself_what_it_has_granted_before() -> None:
    desk = Desk(shared=True)
    other = desk.another()
    assert desk.asks()[0] == 200
    desk.shared.away = True
    assert [desk.asks()[0] for _ in range(3)] == [200, 200, 429]
    assert [desk.asks(limits=other)[0] for _ in range(4)] == [200, 200, 200, 429]
    assert desk.stats.get("api_limit_checks_total", outcome="away") == 5
    desk.clock.advance(WINDOW_S + 1)
    desk.shared.away = False
    assert [desk.asks(limits=limits)[0] for limits in (desk.limits, other) * 2] == [200, 200, 200, 429]


def test_made_up_sessions_do_not_ask_the_store_for_ever() -> None:
    desk = Desk(10_000)
    for number in range(10_500):
        desk.limits.caller({"cookie": f"pumpwatch_session={number:043d}"}, ELSEWHERE)
    assert desk.stats.get("api_session_events_total", outcome="miss") == 10_000
    session = desk.sessions.begin()
    assert desk.limits.caller({"cookie": f"pumpwatch_session={session}"}, "192.0.2.8").by == "session"
