"""A comparison asks both stores for the same trades, and is not misled by what is on its way."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest

from pumpwatch.clock import Clock
from pumpwatch.errors import ServiceUnavailable
from pumpwatch.model import TradeBatch
from pumpwatch.rollout import comparison
from pumpwatch.rollout.comparison import Comparison
from pumpwatch.rollout.differences import MISSING_HERE, MISSING_THERE
from tests.trades import batch_of, catalogue_of

CATALOGUE = catalogue_of()
NOW_NS = time.time_ns()
BATCH = batch_of(1000, start_ns=NOW_NS - 40 * 10**9, step_ns=10**6)


class Place:
    """A store, on either side. `answers`: what it returns, one after the other; the last one stays. `asked` is its history."""

    def __init__(self, *answers: TradeBatch | Exception, reaches: bool = True) -> None:
        self.answers, self.reaches = list(answers), reaches
        self.asked: list[tuple[list[Any], int, int]] = []
        self.threads: set[int] = set()

    def _answer(self, what: Sequence[Any], start_ns: int, end_ns: int) -> TradeBatch:
        self.asked.append((list(what), start_ns, end_ns))
        self.threads.add(threading.get_ident())
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def query(self, ids: Sequence[int], start_ns: int, end_ns: int) -> TradeBatch:
        return self._answer(ids, start_ns, end_ns)

    def reached(self, within_s: float) -> bool:
        return self.reaches

    def read(self, names: Sequence[Any], start_ns: int, end_ns: int, catalogue: Any) -> TradeBatch:
        return self._answer(names, start_ns, end_ns)


def compared(old: Place, new: Place, within_s: float = 5.0) -> comparison.ComparisonResult:
    one = Comparison(new, old, CATALOGUE, Clock(), 60.0, 20, within_s)  # type: ignore[arg-type]
    found = one.run(range(8), NOW_NS - 50 * 10**9)
    assert found is not None
    return found


def test_equal_answers_do_not_differ_and_the_sink_is_asked_in_another_thread() -> None:
    old, new = Place(BATCH), Place(BATCH)
    found = compared(old, new)
    assert found.differences is not None and found.differences.total == 0 and found.trades == 1000
    assert len(found.ms) == 1 and not found.late and not found.problem
    assert new.threads != {threading.get_ident()}
    assert new.asked[0][1:] == old.asked[0][1:] and new.asked[0][0] == CATALOGUE.names(range(8))


def test_what_becomes_visible_a_moment_later_is_not_missing() -> None:
    found = compared(Place(BATCH), Place(BATCH.take(slice(0, 900)), BATCH))
    assert found.differences is not None and found.differences.total == 0 and len(found.ms) == 2


def test_what_stays_away_is_missing_in_the_sink() -> None:
    found = compared(Place(BATCH), Place(BATCH.take(slice(0, 997))), within_s=0.0)
    assert found.differences is not None and found.differences.counts[MISSING_THERE] == found.differences.total == 3


def test_what_was_stored_here_meanwhile_is_not_missing_here() -> None:
    part = BATCH.take(slice(0, 990))
    found = compared(Place(part, BATCH), Place(BATCH))
    assert found.differences is not None and found.differences.total == 0
    found = compared(Place(part), Place(BATCH))
    assert found.differences is not None and found.differences.counts[MISSING_HERE] == found.differences.total == 10


def test_a_sink_that_is_behind_is_timed_and_not_compared() -> None:
    found = compared(Place(BATCH, reaches=False), Place(TradeBatch.empty()))
    assert found.late and found.differences is None and len(found.ms) == 1


def test_a_sink_that_does_not_answer_has_failed() -> None:
    found = compared(Place(BATCH), Place(ServiceUnavailable("away")))
    assert (found.ms, found.problem, found.differences) == ([None], "away", None)


def test_every_instrument_has_its_turn_and_older_windows_too() -> None:
    old, new = Place(TradeBatch.empty()), Place(TradeBatch.empty())
    one = Comparison(new, old, CATALOGUE, Clock(), 10.0, 3)  # type: ignore[arg-type]
    for _ in range(40):
        one.run(range(8), NOW_NS - 1000 * 10**9)
    assert {number for ids, _, _ in old.asked for number in ids} == set(range(8))
    assert all(len(ids) == 3 and end - start == 10 * 10**9 and start >= NOW_NS - 1000 * 10**9 for ids, start, end in old.asked)
    assert len({start for _, start, _ in old.asked if start < NOW_NS - 60 * 10**9}) > 5


@pytest.mark.parametrize(("ids", "since_ns"), [([], 0), ([1], 2**62)])
def test_where_there_is_nothing_to_compare_yet_nothing_is_asked(ids: list[int], since_ns: int) -> None:
    place = Place(BATCH)
    one = Comparison(place, place, CATALOGUE, Clock(), 60.0, 20)  # type: ignore[arg-type]
    assert one.run(ids, since_ns) is None and not place.asked


def test_an_instrument_is_compared_only_in_times_in_which_it_was_read_here() -> None:
    place, asked = Place(BATCH), list[tuple[int, int, int]]()

    def read_here(instrument: int, start_ns: int, end_ns: int) -> bool:
        asked.append((instrument, start_ns, end_ns))
        return instrument % 2 == 1

    one = Comparison(place, place, CATALOGUE, Clock(), 10.0, 3, read_here=read_here)  # type: ignore[arg-type]
    assert one.run(range(8), NOW_NS - 50 * 10**9)
    assert place.asked[0] == ([1, 3, 5], *asked[0][1:])
    assert one.run([0, 2], NOW_NS - 50 * 10**9) is None
