"""A scan finds every frame that is not a trade, in their order, and without trying too often."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pumpwatch.net.frames import Frames
from pumpwatch.pipeline.scan import MOST_BYTES, MOST_FRAMES, Scan


def frames_of(sizes: list[int]) -> Frames:
    stops, end = [], 0
    for size in sizes:
        end += size + 1
        stops.append(end)
    return Frames(memoryview(b"[" + b" " * end), stops, [len(stops)], [1], [])


def go_through(frames: Frames, bad: set[int]) -> tuple[list[int], list[int], int]:
    """Return the frames that were read, those that were not, and how many attempts it took."""
    scan, good, refused, attempts = Scan(frames), list[int](), list[int](), 0
    while scan:
        first, last = scan.range()
        attempts += 1
        if not bad & set(range(first, last)):
            good += range(first, last)
            scan.accept(last)
        elif last - first > 1:
            scan.reject(last)
        else:
            refused.append(first)
            scan.skip()
    return good, refused, attempts


@given(st.integers(0, 300), st.sets(st.integers(0, 299)))
def test_every_frame_is_read_or_refused_once_and_in_order(count: int, bad: set[int]) -> None:
    bad = {one for one in bad if one < count}
    good, refused, _ = go_through(frames_of([3] * count), bad)
    assert refused == sorted(bad)
    assert good == [one for one in range(count) if one not in bad]


def test_good_frames_are_few_attempts_however_many_they_are() -> None:
    assert go_through(frames_of([10] * 20_000), set())[2] == -(-20_000 // MOST_FRAMES)


def test_of_a_flood_of_bad_frames_each_is_one_attempt() -> None:
    assert go_through(frames_of([1] * 5000), set(range(5000)))[2] < 5050


def test_a_single_bad_frame_among_thousands_costs_some_attempts() -> None:
    assert go_through(frames_of([10] * 5000), {3210})[2] < 40


def test_a_range_has_so_many_bytes_at_most_and_one_frame_at_least() -> None:
    scan = Scan(frames_of([MOST_BYTES // 2, MOST_BYTES // 4, MOST_BYTES // 2, 2 * MOST_BYTES, 5]))
    ranges = []
    while scan:
        first, last = scan.range()
        ranges.append((first, last))
        scan.accept(last)
    assert ranges == [(0, 2), (2, 3), (3, 4), (4, 5)]
