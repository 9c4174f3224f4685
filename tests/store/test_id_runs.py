"""Stored ids as runs: they join in any order, and what is missing between them is found to the id."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pumpwatch.clock import NS_PER_S
from pumpwatch.store.id_runs import IdRuns, missing_between, runs_of, union

Ids = list[tuple[int, int]]  # instrument, id


def runs(ids: Ids, offset: int = 0) -> IdRuns:
    return runs_of(np.array([instrument for instrument, _ in ids], np.int32),
                   np.array([number + offset for _, number in ids], np.int64),
                   np.array([number * NS_PER_S for _, number in ids], np.int64))


def missing(found: IdRuns) -> Ids:
    return [(gap.instrument, number) for gap in missing_between(found) for number in range(gap.first, gap.last + 1)]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 60))), st.integers(1, 7), st.sampled_from([0, 2**60]))
def test_what_is_missing_is_what_no_part_has(ids: Ids, parts: int, offset: int) -> None:
    found = union([runs(ids[part::parts], offset) for part in range(parts)])
    expected = [(instrument, number + offset) for instrument in range(4)
                for known in [{number for owner, number in ids if owner == instrument}] if known
                for number in range(min(known), max(known)) if number not in known]
    assert missing(found) == expected
    assert (np.diff(found.instrument) >= 0).all()


def test_far_apart_ids_are_joined_as_well() -> None:
    found = union([runs([(0, 1), (0, 2)]), runs([(1, 5)], 2**62), runs([(0, 3)]), runs([(1, 4)], 2**62)])
    assert found.first.tolist() == [1, 4 + 2**62] and found.last.tolist() == [3, 5 + 2**62]


def test_a_run_has_the_times_of_its_first_and_last_id() -> None:
    found = runs([(0, 8), (0, 7), (0, 9), (0, 8)])
    assert (found.first_ns.tolist(), found.last_ns.tolist()) == ([7 * NS_PER_S], [9 * NS_PER_S])
    gap = missing_between(union([found, runs([(0, 12)])]))[0]
    assert (gap.first, gap.last, gap.from_ns, gap.to_ns) == (10, 11, 9 * NS_PER_S, 12 * NS_PER_S)


def test_where_a_venue_has_restarted_its_ids_none_is_missing() -> None:
    old = runs_of(np.zeros(2, np.int32), np.array([1000, 1001]), np.array([1, 2]) * NS_PER_S)
    new = runs_of(np.zeros(2, np.int32), np.array([1, 2]), np.array([100, 101]) * NS_PER_S)
    assert missing_between(union([old, new])) == []


def test_nothing_has_no_runs() -> None:
    assert len(union([])) == 0 and missing_between(IdRuns.empty()) == []
