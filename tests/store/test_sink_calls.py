"""The calls of a sink are counted by method, with their errors and their times."""

from __future__ import annotations

import threading

import pytest

from pumpwatch.errors import ServiceUnavailable
from pumpwatch.store.sink_calls import RECENT, SinkCalls


def away(reason: str) -> str:
    raise ServiceUnavailable(reason)


def test_calls_are_counted_by_method_and_errors_by_class() -> None:
    calls = SinkCalls()
    read, trouble = calls.timed("read", lambda first, last: last - first), calls.timed("trouble", away)
    assert read(1, last=3) == 2 and read(1, 5) == 4
    with pytest.raises(ServiceUnavailable, match="hung"):
        trouble("hung")
    by_name = {row["operation"]: row for row in calls.rows()}
    assert by_name["read"] | {"seconds": 0, "p50_ms": 0, "p99_ms": 0} == {
        "operation": "read", "total": 2, "failed": 0, "running": 0, "seconds": 0, "p50_ms": 0, "p99_ms": 0, "errors": {}}
    assert (by_name["trouble"]["failed"], by_name["trouble"]["errors"]) == (1, {"ServiceUnavailable": 1})
    assert 0 <= by_name["read"]["p50_ms"] <= by_name["read"]["p99_ms"]


def test_a_row_of_failures_ends_with_a_call_that_goes_well() -> None:
    calls, reasons = SinkCalls(), ["one", "two", ""]
    write = calls.timed("write", lambda: away(reasons.pop(0)) if reasons[0] else reasons.pop(0))
    assert calls.failing("open", "write") == (0, "")
    for count, reason in ((1, "one"), (2, "two")):
        with pytest.raises(ServiceUnavailable):
            write()
        assert calls.failing("open", "write") == (count, reason)
    write()
    assert calls.failing("open", "write") == (0, "")


def test_a_method_that_was_never_called_has_no_row_and_a_running_one_has() -> None:
    calls, gate, begun = SinkCalls(), threading.Event(), threading.Event()
    calls.timed("count", away)

    def wait() -> None:
        begun.set()
        assert gate.wait(10)

    thread = threading.Thread(target=calls.timed("read", wait))
    thread.start()
    assert begun.wait(10)
    [row] = calls.rows()
    assert (row["operation"], row["running"], row["total"], row["p99_ms"]) == ("read", 1, 0, None)
    gate.set()
    thread.join(10)
    assert [(row["running"], row["total"]) for row in calls.rows()] == [(0, 1)]


def test_only_the_last_times_are_kept() -> None:
    calls = SinkCalls()
    call = calls.timed("write", lambda: None)
    for _ in range(RECENT + 5):
        call()
    assert len(calls._operations["write"].recent_ms) == RECENT and calls.rows()[0]["total"] == RECENT + 5
