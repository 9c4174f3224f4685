"""Sessions of the API, in memory and with a store that comes and goes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import gevent
import pytest

from pumpwatch.api.sessions import LASTS_S, MOST, Sessions, name_of
from pumpwatch.clock import FakeClock
from pumpwatch.errors import ServiceUnavailable
from pumpwatch.stats import Stats

TOKEN = "0123456789abcdef"


class Store:
    """A shared store that may be away."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}
        self.away = False

    def _answer(self) -> None:
        if self.away:
            raise ServiceUnavailable("away")

    def put(self, name: str, mark: str, lasts_s: float) -> None:
        self._answer()
        self.kept[name] = mark

    def renew(self, name: str, lasts_s: float) -> str | None:
        self._answer()
        return self.kept.get(name)

    def remove(self, names: Iterable[str]) -> None:
        self._answer()
        for name in names:
            self.kept.pop(name, None)


def sessions_of(shared: Store | None = None, clock: Any = None, token: str = TOKEN) -> Sessions:
    return Sessions(token, clock or FakeClock(), Stats(), shared)


def test_a_session_lasts_a_day_after_its_last_use() -> None:
    clock = FakeClock()
    sessions = sessions_of(clock=clock)
    session = sessions.begin()
    for _ in range(3):
        clock.advance(LASTS_S - 1)
        assert sessions.holds(session)
    clock.advance(LASTS_S)
    assert not sessions.holds(session)


def test_an_ended_session_is_over() -> None:
    sessions = sessions_of()
    session, other = sessions.begin(), sessions.begin()
    sessions.end(session)
    sessions.end("never begun")
    assert [sessions.holds(name) for name in (session, other, "", "never begun")] == [False, True, False, False]


def test_only_a_hash_is_kept_and_nothing_of_the_token() -> None:
    store = Store()
    session = sessions_of(store).begin()
    assert list(store.kept) == [name_of(session)]
    kept = str(store.kept)
    assert session not in kept and TOKEN not in kept and len(session) == 43
    assert not sessions_of(store).holds(name_of(session))


def test_any_process_knows_the_sessions_of_the_store() -> None:
    store = Store()
    one, two = sessions_of(store), sessions_of(store)
    session = one.begin()
    assert two.holds(session)
    two.end(session)
    assert not one.holds(session)


def test_another_token_ends_every_session() -> None:
    store = Store()
    session = sessions_of(store).begin()
    assert not sessions_of(store, token="another-token-of-16").holds(session)
    assert not sessions_of(store, token="").holds(session)
    assert sessions_of(store).holds(session)  # a collector that still has the old one


def test_while_the_store_is_away_the_process_remembers_what_it_has_seen() -> None:
    store = Store()
    one, two = sessions_of(store), sessions_of(store)
    session = one.begin()
    store.away = True
    assert one.holds(session) and not two.holds(session)
    store.away = False
    assert two.holds(session)


def test_a_session_that_begins_while_the_store_is_away_is_stored_later() -> None:
    store = Store()
    one, two = sessions_of(store), sessions_of(store)
    store.away = True
    session = one.begin()
    assert one.holds(session)
    store.away = False
    assert not two.holds(session)
    assert one.holds(session) and two.holds(session)


def test_a_session_that_ends_while_the_store_is_away_stays_ended() -> None:
    store = Store()
    one, two = sessions_of(store), sessions_of(store)
    session = one.begin()
    store.away = True
    one.end(session)
    assert not one.holds(session)
    store.away = False
    assert not one.holds(session) and not two.holds(session) and store.kept == {}


def test_what_ended_meanwhile_ends_elsewhere_once_the_store_is_back_though_nobody_asks_here(
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pumpwatch.api.sessions.AGAIN_S", 0.01)
    store = Store()
    one, two = sessions_of(store), sessions_of(store)
    session = one.begin()
    store.away = True
    one.end(session)
    gevent.sleep(0.05)
    store.away = False
    with gevent.Timeout(20):
        while store.kept:
            gevent.sleep(0.005)
    assert not two.holds(session)


def test_what_the_store_has_forgotten_by_itself_is_told_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pumpwatch.api.sessions.AGAIN_S", 0.01)
    store, clock, stats = Store(), FakeClock(), Stats()
    sessions = Sessions(TOKEN, clock, stats, store)
    session = sessions.begin()
    store.away = True
    sessions.end(session)
    clock.advance(LASTS_S)
    asked = 0
    with gevent.Timeout(20):
        while asked != (asked := stats.get("api_session_events_total", outcome="away")) or asked == 0:
            gevent.sleep(0.1)
    assert asked <= 2


def test_the_number_of_sessions_falls_when_one_ends() -> None:
    clock, stats = FakeClock(), Stats()
    sessions = Sessions(TOKEN, clock, stats)
    first, second = sessions.begin(), sessions.begin()
    sessions.end(first)
    assert stats.get("api_sessions") == 1
    clock.advance(LASTS_S)
    assert not sessions.holds(second) and stats.get("api_sessions") == 0


def test_a_store_that_was_emptied_ends_what_it_had() -> None:
    store = Store()
    sessions = sessions_of(store)
    session = sessions.begin()
    store.kept.clear()
    assert not sessions.holds(session)
    store.away = True
    assert not sessions.holds(session)


def test_a_process_remembers_so_many_and_forgets_those_used_longest_ago() -> None:
    sessions = sessions_of()
    first, second = sessions.begin(), sessions.begin()
    assert sessions.holds(first)
    for _ in range(MOST - 1):
        sessions.begin()
    assert sessions.holds(first) and not sessions.holds(second)
