"""HTTP messages are plain data with defaults of their own."""

from __future__ import annotations

from pumpwatch.sim.http_messages import HttpCall, HttpReply


def test_an_answer_needs_only_its_status_and_shares_no_headers() -> None:
    first, second = HttpReply(200), HttpReply(200)
    first.headers["X"] = "1"
    assert (second.body, second.headers) == (b"", {})


def test_a_request_carries_the_memory_that_it_is_given() -> None:
    memory: dict[str, object] = {"tokens": {}}
    assert HttpCall("GET", "/", {}, {}, b"", 0, memory).memory is memory
    assert HttpCall("GET", "/", {}, {}, b"", 0).memory == {}
