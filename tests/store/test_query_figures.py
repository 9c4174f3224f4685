"""Queries are counted; the slow ones are logged with the part that took the time."""

from __future__ import annotations

import logging

import pytest

from pumpwatch.errors import StorageError
from pumpwatch.store.query import QueryPart
from pumpwatch.store.query_figures import QueryFigures, plan

MEMORY = QueryPart("recent", 300, 12.0)
JOURNAL = QueryPart("journal", 4000, 340.0, detail="of 3 segments")
BROKEN = QueryPart("questdb", 0, 3000.4, "no answer\nin 3 s")


def test_before_the_first_query_nothing_is_claimed() -> None:
    assert QueryFigures(0).figures() == {"total": 0, "failed": 0, "slow": 0, "seconds": 0, "mean_ms": None, "p99_ms": None,
                                         "memory_ratio": None}


def test_queries_are_counted_by_how_they_ended_and_who_answered() -> None:
    figures = QueryFigures(0)
    for parts, ms in (([MEMORY], 10.0), ([MEMORY], 20.0), ([MEMORY, JOURNAL], 360.0), ([BROKEN], 3000.0)):
        figures.record("PEPE", 0, 1, parts, 1, ms)
    figures.record_failure(10.0)
    assert figures.figures() == {"total": 5, "failed": 2, "slow": 0, "seconds": 3.4, "mean_ms": 680.0, "p99_ms": 3000,
                                 "memory_ratio": 0.4}


def test_the_p99_is_that_of_the_slowest_of_a_hundred() -> None:
    figures = QueryFigures(0)
    for number in range(1000):
        figures.record("PEPE", 0, 1, [MEMORY], 1, 500.0 if number < 11 else 5.0)
    assert figures.figures()["p99_ms"] == 500
    for _ in range(200):
        figures.record("PEPE", 0, 1, [MEMORY], 1, 5.0)
    assert figures.figures()["p99_ms"] == 5
    figures.record("PEPE", 0, 1, [MEMORY], 1, 1e9)  # longer than is told apart
    assert figures.figures()["total"] == 1201


def test_the_plan_says_which_part_took_how_long() -> None:
    assert plan([MEMORY, JOURNAL, BROKEN], 3360.0) == (
        "recent 12 ms, 300 rows; journal 340 ms, 4,000 rows of 3 segments; questdb 3000 ms, 0 rows (no answer in 3 s); "
        "merge 8 ms")
    assert plan([QueryPart("reader", None, 5.0, "", "to its first rows")], 5.0) == "reader 5 ms to its first rows; merge 0 ms"


@pytest.mark.parametrize(("slow_ms", "logged"), [(100.0, 1), (0.0, 0)])
def test_a_slow_query_is_logged_with_its_plan_and_a_quick_one_is_not(
        caplog: pytest.LogCaptureFixture, slow_ms: float, logged: int) -> None:
    caplog.set_level(logging.WARNING)
    figures = QueryFigures(slow_ms)
    figures.record("PEPE", 5, 5 + 60 * 10**9, [JOURNAL], 4000, 345.0)
    figures.record("BTC", 5, 6, [MEMORY], 1, 12.0)
    assert [record.getMessage() for record in caplog.records] == [
        "slow query of=PEPE from_ns=5 span_s=60.0 rows=4000 ms=345 plan='journal 340 ms, 4,000 rows of 3 segments; merge 5 ms'",
    ][:logged]
    assert figures.figures()["slow"] == logged


def test_an_error_of_a_place_is_a_problem_of_the_part() -> None:
    assert QueryPart("journal", 0, 1.0, StorageError("locked").message).problem == "locked"
