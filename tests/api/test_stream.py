"""The stream's answer: events, never stored, refused where there are too many pages."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pumpwatch.api.broadcast import Broadcast, PageWatch, Topic
from pumpwatch.api.route import Answer, ApiCall, NoQuery, Problem
from pumpwatch.api.stream import ROUTES, stream
from pumpwatch.clock import FakeClock


def call(broadcast: Broadcast, **headers: str) -> ApiCall:
    desk: Any = SimpleNamespace(broadcast=broadcast)
    return ApiCall(desk, {}, NoQuery(), None, {name.replace("_", "-"): value for name, value in headers.items()})


def make(most: int = 2) -> Broadcast:
    return Broadcast(FakeClock(), lambda: None, [Topic("figures", lambda: 1)], most)


def test_the_answer_is_a_stream_of_events_that_nobody_stores() -> None:
    broadcast = make()
    answer = stream(call(broadcast))
    assert isinstance(answer, Answer) and isinstance(answer.body, PageWatch)
    assert answer.content_type in ROUTES[0].media
    assert answer.headers["Cache-Control"] == "no-store" and answer.headers["X-Accel-Buffering"] == "no"
    assert next(answer.body) == b"retry: 2000\n\n" and broadcast.watchers == 1
    answer.body.close()
    assert broadcast.watchers == 0


def test_a_browser_that_comes_back_says_where_it_was() -> None:
    broadcast = make()
    first = stream(call(broadcast)).body
    assert isinstance(first, PageWatch)
    next(first)
    broadcast._publish(waits=False)
    number = next(line for line in next(first).decode().splitlines() if line.startswith("id: "))
    again = stream(call(broadcast, last_event_id=number.removeprefix("id: "))).body
    assert isinstance(again, PageWatch)
    assert again._news() == b""


def test_a_page_too_many_is_told_to_come_back() -> None:
    broadcast = make(most=1)
    stream(call(broadcast))
    with pytest.raises(Problem) as refused:
        stream(call(broadcast))
    assert (refused.value.status, refused.value.headers) == (503, {"Retry-After": "5"})
