"""The recorder asks every venue of a coin while its window is open, within the venue's budget and a bounded memory."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import gevent
import pytest
from gevent.event import Event
from pumpwatch_plugins.exchanges.binance import VENUES

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import Clock
from pumpwatch.errors import ServiceUnavailable
from pumpwatch.listing import book_recorder
from pumpwatch.listing.book_recorder import (
    NO_ANSWER,
    NO_BOOK,
    NO_BUDGET,
    NO_MEMORY,
    NO_TURN,
    REQUESTS_PER_S,
    BookAccess,
    BookRecorder,
    NoBooks,
)
from pumpwatch.listing.books import VenueBooks
from pumpwatch.model import SPOT, Instrument
from pumpwatch.net.ratelimit import TokenBucket
from pumpwatch.stats import Stats
from pumpwatch.venue import HttpRequest, Venue

ALWAYS = [(0, 2**63)]
BODY = json.dumps({"lastUpdateId": 7, "bids": [["9", "1"]], "asks": [["11", "1"], ["12", "2"]]}).encode()


class Answers:
    """A venue that answers with what its script says, and counts who asked for what; afterwards with a good book."""

    def __init__(self, *script: bytes | Exception | Event) -> None:
        self.script, self.asked = list(script), list[HttpRequest]()

    def __call__(self, request: HttpRequest) -> bytes:
        self.asked.append(request)
        step = self.script.pop(0) if self.script else BODY
        if isinstance(step, Exception):
            raise step
        if isinstance(step, Event):
            step.wait()
            return BODY
        return step


class Greenlets:
    """Runs bodies in greenlets, and waits for their end."""

    def __init__(self) -> None:
        self.running: list[gevent.Greenlet[..., None]] = []

    def __call__(self, name: str, body: Callable[[], None]) -> None:
        self.running.append(gevent.spawn(body))

    def join(self) -> None:
        assert len(gevent.joinall(self.running, timeout=20, raise_error=True)) == len(self.running)


def venue(name: str = "alpha", **facts: Any) -> Venue:
    found: Venue = replace(VENUES[0], exchange=name, **facts)
    return found


def recorder(*venues: tuple[Venue, Answers], rate: float = 1000.0, memory_bytes: int = 10**6,
             spawn: Greenlets | None = None) -> BookRecorder:
    catalogue, clock = Catalogue(), Clock()
    for known, _ in venues:
        catalogue.add((known.exchange, SPOT), Instrument(symbol="KITEUSDT", base="KITE", quote="USDT"))
    accesses = [BookAccess(known, TokenBucket(rate, max(1.0, rate), clock), answers) for known, answers in venues]
    return BookRecorder(accesses, catalogue, clock, Stats(), spawn or Greenlets(), memory_bytes, interval_s=0.01)


def until(holds: Callable[[], bool]) -> None:
    with gevent.Timeout(20):
        while not holds():
            gevent.sleep(0.005)


def of(books: BookRecorder, name: str = "alpha") -> VenueBooks:
    (found,) = [found for found in books.recorded("KITE", ALWAYS) if found.exchange == name]
    return found


def test_every_venue_is_asked_again_and_again_until_the_end() -> None:
    answers, greenlets = {name: Answers() for name in ("alpha", "beta")}, Greenlets()
    books = recorder(*((venue(name), given) for name, given in answers.items()), spawn=greenlets)
    books.begin("KITE")
    until(lambda: all(len(of(books, name).snapshots) >= 3 for name in answers))
    books.end("KITE")
    greenlets.join()
    first = of(books).snapshots[0]
    assert (first.symbol, first.sequence, [column.tolist() for column in first.levels]) == (
        "KITEUSDT", 7, [[9.0], [1.0], [11.0, 12.0], [1.0, 2.0]])
    assert first.asked_at_ns <= first.received_at_ns
    assert {request.path for request in answers["beta"].asked} == {"/api/v3/depth"}


@pytest.mark.parametrize(("step", "reason"), [
    (ServiceUnavailable("HTTP 503: no"), "HTTP 503: no"), (b"<html></html>", "the answer cannot be read"),
    (BODY[:30], "the answer cannot be read"), (b"", "the answer cannot be read"), (b'{"code":-1}', "the answer cannot be read"),
])
def test_a_bad_answer_is_counted_with_its_reason_and_told_once(step: bytes | Exception, reason: str,
                                                               caplog: pytest.LogCaptureFixture) -> None:
    books = recorder((venue(), Answers(step, step, BODY, step)))
    books.begin("KITE")
    until(lambda: len(of(books).snapshots) >= 3)
    books.end("KITE")
    found = of(books)
    assert sum(problem.count for problem in found.problems) == 3
    assert all(reason in problem.reason for problem in found.problems)
    assert len([record for record in caplog.records if "order book missing" in record.message]) == 1


def test_a_venue_that_hangs_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(book_recorder, "ANSWER_S", 0.2)
    books = recorder((venue("alpha"), Answers(Event())), (venue("beta"), Answers()))
    books.begin("KITE")
    until(lambda: len(of(books, "beta").snapshots) >= 3)
    assert of(books, "alpha").snapshots == []
    until(lambda: len(of(books, "alpha").snapshots) >= 1)
    books.end("KITE")
    assert [problem.reason for problem in of(books, "alpha").problems] == [NO_ANSWER]


def test_a_budget_that_is_used_up_leaves_snapshots_out() -> None:
    answers = Answers()
    books = recorder((venue(), answers), rate=0.001)
    books.begin("KITE")
    until(lambda: sum(problem.count for problem in of(books).problems) >= 3)
    books.end("KITE")
    assert len(answers.asked) == 1  # what a budget of 1 pays for now, though a request weighs 5
    assert {problem.reason for problem in of(books).problems} == {NO_BUDGET}


def test_books_take_a_share_of_the_budget_and_leave_the_rest() -> None:
    clock, answers = Clock(), Answers()
    budget = TokenBucket(50.0, 50.0, clock)
    catalogue = Catalogue()
    catalogue.add(("alpha", SPOT), Instrument(symbol="KITEUSDT", base="KITE", quote="USDT"))

    def ask(request: HttpRequest) -> bytes:
        budget.acquire(request.weight)
        return answers(request)

    books = BookRecorder([BookAccess(venue(), budget, ask)], catalogue, clock, Stats(), Greenlets(), interval_s=0.001)
    started_s = clock.monotonic()
    books.begin("KITE")
    until(lambda: len(answers.asked) >= 12)
    taken_s = clock.monotonic() - started_s
    books.end("KITE")
    assert 5 * len(answers.asked) <= 50 + 25 * (taken_s + 0.5)  # at first what two seconds give, then half of the rate


def test_many_windows_at_once_share_what_the_hub_has_for_them() -> None:
    answers = Answers()
    books = recorder((venue(), answers), rate=1e6)
    started_s = Clock().monotonic()
    books.begin("KITE")
    until(lambda: any(problem.reason == NO_TURN for problem in of(books).problems))
    taken_s = Clock().monotonic() - started_s
    books.stop()
    assert len(answers.asked) <= REQUESTS_PER_S * (taken_s + 1)


def test_memory_is_bounded_and_said() -> None:
    books = recorder((venue(), Answers()), memory_bytes=1500)
    books.begin("KITE")
    until(lambda: bool(of(books).problems))
    books.end("KITE")
    assert len(of(books).snapshots) == 2
    assert {problem.reason for problem in of(books).problems} == {NO_MEMORY}


def test_what_nobody_wants_any_longer_is_forgotten_and_makes_room() -> None:
    books = recorder((venue(), Answers()), memory_bytes=1500)
    for _ in range(3):
        books.begin("KITE")
        until(lambda: len(of(books).snapshots) == 2)
        books.end("KITE")
        books.keep({"KITE"})
        assert len(of(books).snapshots) == 2
        books.keep(())
        assert books.recorded("KITE", ALWAYS) == []


def test_a_venue_without_books_says_so_and_one_without_the_coin_has_no_entry() -> None:
    other = venue("gamma")
    books = recorder((venue("alpha", books=None), Answers()))
    books.begin("KITE")
    until(lambda: bool(of(books).problems))
    assert [(problem.count, problem.reason) for problem in of(books).problems] == [(1, NO_BOOK)]
    assert [found.exchange for found in books.recorded("KITE", ALWAYS)] == ["alpha"] != [other.exchange]
    books.stop()


def test_only_snapshots_of_the_window_are_given() -> None:
    books = recorder((venue(), Answers()))
    books.begin("KITE")
    until(lambda: len(of(books).snapshots) >= 3)
    books.end("KITE")
    second = of(books).snapshots[1]
    (found,) = books.recorded("KITE", [(second.asked_at_ns, second.asked_at_ns + 1)])
    assert found.snapshots == [second]


def test_a_recorder_of_nothing_does_nothing() -> None:
    nothing = NoBooks()
    nothing.begin("KITE")
    nothing.end("KITE")
    nothing.keep({"KITE"})
    assert nothing.recorded("KITE", ALWAYS) == []
