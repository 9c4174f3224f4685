"""A ban begins with a warning, grows while the address goes on asking, and is forgotten once it has waited."""

from __future__ import annotations

import dataclasses

from pumpwatch.clock import FakeClock
from pumpwatch.sim.ban import LONGEST_S, GrowingBan
from pumpwatch.sim.wire import ClientRequest
from tests.sim.fakes import NO_RULES, truth_of, venue_of

LIST = ClientRequest("GET", "/rest/list", {}, b"")


def waits(ban: GrowingBan, count: int) -> list[str]:
    replies = [ban.answer() for _ in range(count)]
    return [reply.headers["Retry-After"] for reply in replies if reply is not None and reply.status == 418]


def test_each_request_during_a_ban_doubles_it_up_to_three_days() -> None:
    clock = FakeClock()
    ban = GrowingBan(clock)
    assert ban.answer() is None
    ban.warn(10, 5)
    assert waits(ban, 3) == ["5", "10", "20"]
    clock.advance(19)
    assert waits(ban, 1) == ["40"]
    clock.advance(40)
    assert ban.answer() is None
    ban.warn(10, LONGEST_S / 2)
    assert waits(ban, 3) == [str(int(LONGEST_S / 2)), str(int(LONGEST_S)), str(int(LONGEST_S))]


def test_a_client_that_waits_after_a_warning_is_not_banned() -> None:
    clock = FakeClock()
    ban = GrowingBan(clock)
    ban.warn(10, 5)
    clock.advance(10)
    assert ban.answer() is None


def test_an_address_that_asks_on_after_429_is_banned_and_another_is_not() -> None:
    clock = FakeClock()
    venue = venue_of(clock, rules=dataclasses.replace(NO_RULES, requests_per_minute=2, ban_s=30.0))
    statuses = [venue.rest(LIST, "a").status for _ in range(5)]
    assert statuses == [200, 200, 429, 418, 418]
    assert venue.rest(LIST, "a").headers["Retry-After"] == "120" and venue.rest(LIST, "b").status == 200
    told = [facts["status"] for kind, facts in truth_of(venue).events if kind == "rejected"]
    assert told == [429, 418, 418, 418] and (venue.requests, venue.rejected) == (7, 4)
    clock.advance(121)
    assert venue.rest(LIST, "a").status == 200


def test_a_ban_by_fault_begins_with_429_and_ends() -> None:
    clock = FakeClock()
    venue = venue_of(clock)
    venue.faults.ban_until, venue.faults.ban_s = clock.monotonic() + 3, 3.0
    assert [venue.rest(LIST, "a").status for _ in range(3)] == [429, 418, 418]
    clock.advance(7)
    assert venue.rest(LIST, "a").status == 200
