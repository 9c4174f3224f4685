"""Segments expire by age and by size, never one that a sink needs, never the newest."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pumpwatch.clock import NS_PER_S, FakeClock
from pumpwatch.model import GapState
from pumpwatch.stats import Stats
from pumpwatch.store.expiry import EARLY, SAMPLED_S, NewestTrades, Removed, choose, record_early
from pumpwatch.store.journal import Journal
from pumpwatch.store.manifest import SegmentManifest
from pumpwatch.store.segment import Segment
from tests.store.small_journal import START_NS, NotedDamage, small_journal
from tests.trades import catalogue_of

HOUR_NS = 3600 * NS_PER_S


@pytest.fixture
def segments(tmp_path: Path) -> list[Segment]:
    """Four files of 1,000 bytes, an hour each, the first from hour 1 on."""
    made = []
    for number in range(1, 5):
        path = tmp_path / f"{number}.sqlite"
        path.write_bytes(bytes(1000))
        made.append(Segment(path, number, number, trades=10, created_ns=number * HOUR_NS, first_timestamp=number * HOUR_NS,
                            last_timestamp=(number + 1) * HOUR_NS - 1, last_received=(number + 1) * HOUR_NS - 1, ordinal=number,
                            state="clean", venues={("a", "spot")}))
    return made


def ids(removed: list[Removed]) -> list[tuple[int, bool]]:
    return [(one.segment.first_id, one.early) for one in removed]


def test_what_ended_before_the_time_goes_and_never_the_newest(segments: list[Segment]) -> None:
    assert ids(choose(segments, 3 * HOUR_NS, 10**9, None, float("inf"))) == [(1, False), (2, False)]
    assert ids(choose(segments, 2**62, 10**9, None, float("inf"))) == [(1, False), (2, False), (3, False)]
    assert choose([], 0, 0, None, 0.0) == []


def test_for_their_age_goes_only_as_much_as_was_written_in_the_span(segments: list[Segment]) -> None:
    assert ids(choose(segments, 2**62, 10**9, None, 3600.0)) == [(1, False)]


def test_the_oldest_go_before_their_time_where_all_are_too_large(segments: list[Segment]) -> None:
    assert ids(choose(segments, 0, 2500, None, 0.0)) == [(1, True), (2, True)]


def test_segments_that_a_sink_needs_stay_and_unreadable_ones_expire(segments: list[Segment]) -> None:
    assert ids(choose(segments, 2**62, 0, 2, float("inf"))) == [(1, False), (2, False)]
    segments[2].readable = False
    assert ids(choose(segments, 2**62, 0, 0, float("inf"))) == [(3, False)]


def test_what_is_not_counted_yet_stays_unless_the_rest_does_not_fit(segments: list[Segment]) -> None:
    assert ids(choose(segments, 2**62, 10**9, None, float("inf"), 2)) == [(1, False), (2, False)]
    assert ids(choose(segments, 2**62, 3500, None, float("inf"), 0)) == [(1, False)]
    segments[0].readable = False
    assert ids(choose(segments, 2**62, 10**9, None, float("inf"), 0)) == [(1, False)]


def test_what_goes_early_is_one_gap_a_venue_that_grows(segments: list[Segment], tmp_path: Path) -> None:
    damage, manifest = NotedDamage(), SegmentManifest(tmp_path)
    for segment in segments[:2]:
        record_early(damage, manifest, [Removed(segment, True, 3600.0)], 1)
    first, second = damage.gaps
    assert (first.from_ns, first.reason, first.state) == (HOUR_NS, EARLY, GapState.LOST)
    assert (second.from_ns, second.to_ns) == (HOUR_NS, 3 * HOUR_NS)


def test_the_newest_trades_tell_the_time_by_their_median() -> None:
    newest = NewestTrades()
    assert newest.ns() == 0
    for at_s, ns in ((0.0, 5), (SAMPLED_S, 100), (SAMPLED_S + 1, 10**18), (SAMPLED_S + 2, 102)):
        newest.record(at_s, ns)
    assert newest.ns() == 102


def test_a_kill_before_the_ledger_has_the_gap_of_what_went_early_is_not_taken_for_a_loss(tmp_path: Path) -> None:
    small_journal(tmp_path / "data", segments=4)
    journal = Journal(tmp_path / "data", catalogue_of(), FakeClock(START_NS + 5 * HOUR_NS), Stats())
    last_id = journal.open().last_batch_id
    removed = journal.expire(0, 1, [])  # the ledger takes the gap at its next call
    assert [one.early for one in removed] == [True] * 3
    killed = Path(shutil.copytree(tmp_path / "data", tmp_path / "killed"))
    journal.close()
    after = Journal(killed, catalogue_of(), FakeClock(START_NS + 5 * HOUR_NS), Stats())
    assert after.open().last_batch_id == last_id and after.unreadable == []
    gaps = [gap for _, gap in after.ledger.gaps()]
    assert len(gaps) == 2 and {gap.reason for gap in gaps} == {EARLY}
    after.close()
