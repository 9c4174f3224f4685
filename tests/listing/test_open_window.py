"""One coin's window: its intervals, its end by the monotonic clock, and its later looks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pumpwatch.clock import NS_PER_S
from pumpwatch.listing.archive import Archive
from pumpwatch.listing.context import Reach
from pumpwatch.listing.open_window import LOOKS_S, SETTLE_MAX_S, SETTLE_S, OpenWindow, covers, intervals_of, joined
from tests.listing.market import ANNOUNCED_NS, listing_of

S = NS_PER_S
NOW_NS, NOW_S = ANNOUNCED_NS + 3 * S, 100.0
END_S = NOW_S + 20


@pytest.fixture
def window() -> OpenWindow:
    """A window of a listing that was seen 3 s after its announcement, just now."""
    made = OpenWindow("KITE", "upbit", [Reach()], 600.0)
    made.add(listing_of(after_s=3), NOW_NS, NOW_S)
    return made


def test_a_window_is_20_s_around_announcement_and_detection() -> None:
    assert intervals_of([listing_of(after_s=3)], Reach()) == [(ANNOUNCED_NS - 20 * S, ANNOUNCED_NS + 23 * S)]
    assert intervals_of([listing_of(after_s=300)], Reach()) == [
        (ANNOUNCED_NS - 20 * S, ANNOUNCED_NS + 20 * S), (ANNOUNCED_NS + 280 * S, ANNOUNCED_NS + 320 * S)]


def test_a_window_ends_20_s_after_detection_and_is_read_quickly_until_then(window: OpenWindow) -> None:
    assert (window.end_s, window.end_ns, window.late) == (END_S, ANNOUNCED_NS + 23 * S, False)
    assert [window.quick_at(at) for at in (NOW_S, END_S - 0.1, END_S)] == [True, True, False]
    assert window.since_end_s(END_S + 5) == 5


def test_a_late_listing_makes_a_window_late_only_alone(window: OpenWindow) -> None:
    late = OpenWindow("KITE", "upbit", [Reach()], 600.0)
    late.add(listing_of(after_s=900), NOW_NS + 897 * S, NOW_S)
    assert late.late and not late.quick_at(NOW_S)
    window.add(listing_of(after_s=900, notice_id="2"), NOW_NS, NOW_S)
    assert not window.late


def test_a_clock_that_stepped_back_keeps_no_window_open_longer_than_a_window_is() -> None:
    window = OpenWindow("KITE", "upbit", [Reach()], 600.0)
    window.add(listing_of(after_s=3), NOW_NS - 86_400 * S, NOW_S)
    assert window.end_s == END_S


def test_a_window_overlaps_one_of_the_same_coin_that_touches_it(window: OpenWindow) -> None:
    assert window.overlaps(listing_of(announced_ns=ANNOUNCED_NS + 43 * S, after_s=0))
    assert not window.overlaps(listing_of(announced_ns=ANNOUNCED_NS + 44 * S, after_s=0))
    assert not window.overlaps(listing_of("OTHER"))
    assert not window.overlaps(replace(listing_of(), exchange="bithumb"))
    assert window.overlaps(replace(listing_of(), source="mirror", exchange="upbit"))


def test_an_archive_is_ready_when_its_trades_should_be_stored_and_at_the_latest_after_a_minute(window: OpenWindow) -> None:
    def ready(after_s: float, behind_s: float, unlisted: bool = False) -> bool:
        return window.ready(END_S + after_s, behind_s, unlisted)

    assert [ready(SETTLE_S - 0.1, 0), ready(SETTLE_S, 0)] == [False, True]
    assert [ready(SETTLE_S + 4, 5), ready(SETTLE_S + 5, 5)] == [False, True]
    assert [ready(SETTLE_MAX_S - 0.1, 0, True), ready(SETTLE_MAX_S, 3600, True)] == [False, True]


def test_the_looks_follow_the_end_and_each_is_made_once(window: OpenWindow) -> None:
    looks = [END_S + look for look in LOOKS_S]
    assert [window.next_look_s(at) for at in (END_S, *looks)] == [*looks, None]


def test_a_longer_window_follows_the_short_one_and_takes_its_place_at_its_end() -> None:
    window = OpenWindow("KITE", "upbit", [Reach(), Reach(300, 100)], 600.0)
    window.add(listing_of(after_s=3), NOW_NS, NOW_S)
    assert (window.end_s, window.last_end_s, window.due_s) == (END_S, NOW_S + 100, END_S + SETTLE_S)
    window.grow(END_S + 70)
    assert window.intervals == [(ANNOUNCED_NS - 20 * S, ANNOUNCED_NS + 23 * S)]
    assert window.next_look_s(END_S + 61) == NOW_S + 100 + SETTLE_S
    assert not window.quick_at(END_S + 1)
    window.complete = True
    window.grow(NOW_S + 100 + SETTLE_S)
    assert (window.end_s, window.complete) == (NOW_S + 100, False)
    assert window.intervals == [(ANNOUNCED_NS - 300 * S, ANNOUNCED_NS + 103 * S)]
    assert window.next_look_s(NOW_S + 200) == NOW_S + 100 + LOOKS_S[-1]


def test_a_listing_that_joins_an_archive_takes_nothing_from_it() -> None:
    window = OpenWindow("KITE", "upbit", [Reach(), Reach(300, 100)], 600.0)
    window.add(listing_of(after_s=3), NOW_NS, NOW_S)
    window.covered = [(ANNOUNCED_NS - 300 * S, ANNOUNCED_NS + 103 * S)]
    window.add(listing_of(announced_ns=ANNOUNCED_NS + 10 * S, after_s=200, notice_id="2"), NOW_NS + 207 * S, NOW_S + 207)
    assert (window.complete, window.end_s) == (False, NOW_S + 227)
    assert window.intervals == [(ANNOUNCED_NS - 300 * S, ANNOUNCED_NS + 103 * S),
                                (ANNOUNCED_NS + 190 * S, ANNOUNCED_NS + 230 * S)]


@pytest.mark.parametrize(("covered", "complete", "reaches_s"), [
    ([], True, 20), ([(-20, 23)], True, 20), ([(-300, 103)], True, 100), ([(-400, 200)], True, 100), ([(-10, 23)], False, 20)])
def test_after_a_restart_an_archive_says_which_window_it_has(
        covered: list[tuple[int, int]], complete: bool, reaches_s: int) -> None:
    window = OpenWindow("KITE", "upbit", [Reach(), Reach(300, 100)], 600.0)
    window.add(listing_of(after_s=3), NOW_NS, NOW_S)
    window.continue_with(Archive(Path("KITE"), 9), [(ANNOUNCED_NS + start * S, ANNOUNCED_NS + end * S) for start, end in covered])
    assert (window.complete, window.end_s) == (complete, NOW_S + reaches_s)


def test_intervals_that_touch_are_one() -> None:
    assert joined([(5, 9), (0, 3), (3, 4), (6, 7)]) == [(0, 4), (5, 9)]
    assert [covers([(0, 4), (5, 9)], wanted) for wanted in ([(1, 3), (5, 9)], [(3, 5)], [])] == [True, False, True]


def test_a_drill_shares_no_window_with_a_listing(window: OpenWindow) -> None:
    drill = replace(listing_of(after_s=3, notice_id="2"), drill=True)
    assert window.overlaps(replace(drill, drill=False)) and not window.overlaps(drill)
    drills = OpenWindow("KITE", "upbit", [Reach()], 600.0)
    drills.add(drill, NOW_NS, NOW_S)
    assert drills.drill and drills.overlaps(drill) and not drills.overlaps(listing_of(after_s=3))
