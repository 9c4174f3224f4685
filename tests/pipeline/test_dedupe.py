"""Dropping doubles and noticing jumps, by column and trade by trade."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pumpwatch.catalogue import Catalogue
from pumpwatch.model import NO_SEQUENCE, GapState, IdKind, Instrument, TradeBatch
from pumpwatch.pipeline.dedupe import Dedupe
from pumpwatch.pipeline.missing_ids import RANGES_KEPT
from pumpwatch.pipeline.recent_ids import KEYS_KEPT

SCRIPTS = st.lists(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 30)), max_size=12), max_size=12)


def make(kind: IdKind, symbols: int = 3, **options: int) -> Dedupe:
    catalogue = Catalogue()
    for number in range(symbols):
        catalogue.add(("venue", "spot"), Instrument(symbol=f"S{number}", base=f"S{number}", quote="USDT"))
    return Dedupe(catalogue, lambda exchange, market_type: kind, **options)


def batch(rows: list[tuple[int, int]], texts: list[bytes] | None = None) -> TradeBatch:
    """Rows are (instrument, id); a trade's time is its id."""
    count = len(rows)
    instrument = np.array([row[0] for row in rows], np.int32)
    ids = np.array([row[1] for row in rows], np.int64)
    ones = np.ones(count)
    return TradeBatch(ids + 1, instrument, ones, ones, np.zeros(count, np.uint8), ids, np.full(count, NO_SEQUENCE), ids,
                      np.zeros(count, np.uint8), None if texts is None else np.array(texts))


def kept(dedupe: Dedupe, rows: list[tuple[int, int]]):
    seen = dedupe.observe(batch(rows))
    mask = [True] * len(rows) if seen.keep is None else seen.keep.tolist()
    return [row for row, keep in zip(rows, mask, strict=True) if keep], seen


def test_ids_that_advance_are_all_kept_and_open_nothing():
    dedupe = make(IdKind.CONTIGUOUS)
    for start in (1, 4, 7):
        rows = [(s, start + i) for i in range(3) for s in range(3)]
        got, seen = kept(dedupe, rows)
        assert got == rows and not seen.gaps and not seen.doubled and seen.keep is None


def test_a_trade_seen_before_is_dropped_and_counted():
    dedupe = make(IdKind.CONTIGUOUS)
    kept(dedupe, [(0, 1), (0, 2), (1, 9)])
    got, seen = kept(dedupe, [(0, 2), (0, 3), (1, 10), (0, 3)])
    assert got == [(0, 3), (1, 10)]
    assert seen.doubled == {0: 2} and not seen.gaps


def test_a_jump_opens_a_gap_with_its_bounds():
    dedupe = make(IdKind.CONTIGUOUS)
    kept(dedupe, [(1, 10)])
    _, seen = kept(dedupe, [(1, 14)])
    (gap,) = seen.gaps
    assert (gap.symbol, gap.first_id, gap.last_id, gap.state) == ("S1", 11, 13, GapState.OPEN)
    assert gap.from_ns == 11 and gap.to_ns == 16  # the time of the last trade before, and just past that of the first after


def test_late_trades_are_kept_once_and_fill_the_gap():
    dedupe = make(IdKind.CONTIGUOUS)
    kept(dedupe, [(0, 1)])
    _, opened = kept(dedupe, [(0, 4)])
    got, seen = kept(dedupe, [(0, 3), (0, 3)])
    assert got == [(0, 3)] and not seen.gaps
    got, seen = kept(dedupe, [(0, 2), (0, 5)])
    assert got == [(0, 2), (0, 5)]
    (filled,) = seen.gaps
    assert filled.state == GapState.FILLED
    assert (filled.first_id, filled.last_id, filled.from_ns) == (2, 3, opened.gaps[0].from_ns)


def test_disorder_within_a_batch_is_no_gap():
    dedupe = make(IdKind.CONTIGUOUS)
    got, seen = kept(dedupe, [(0, 5), (0, 3), (0, 4), (0, 6)])
    assert got == [(0, 5), (0, 3), (0, 4), (0, 6)] and not seen.gaps


def test_a_restored_instrument_continues_where_it_was():
    dedupe = make(IdKind.CONTIGUOUS)
    dedupe.continue_after({("venue", "spot", "S2"): (100, 5)})
    got, seen = kept(dedupe, [(2, 99), (2, 100), (2, 103)])
    assert got == [(2, 103)]
    assert [(gap.first_id, gap.last_id, gap.from_ns) for gap in seen.gaps] == [(101, 102, 5)]


def test_monotonic_ids_may_skip():
    dedupe = make(IdKind.MONOTONIC)
    rows = [(0, 5), (0, 9), (1, 3), (0, 40)]
    got, seen = kept(dedupe, rows)
    assert got == rows and not seen.gaps


def test_monotonic_repetitions_are_dropped_without_being_told_of_a_reconnect_and_late_ones_are_kept():
    dedupe = make(IdKind.MONOTONIC)
    assert kept(dedupe, [(0, 5), (0, 6), (1, 1)])[0] == [(0, 5), (0, 6), (1, 1)]
    assert kept(dedupe, [(0, 7), (0, 8), (0, 12)])[0] == [(0, 7), (0, 8), (0, 12)]
    assert kept(dedupe, [(0, 6), (0, 7), (0, 10), (0, 12), (0, 13), (1, 1)])[0] == [(0, 10), (0, 13)]


def texts(dedupe: Dedupe, *ids: bytes, number: int = 0) -> list[bool]:
    seen = dedupe.observe(batch([(number, -1)] * len(ids), list(ids)))
    return [True] * len(ids) if seen.keep is None else seen.keep.tolist()


def test_ids_without_order_are_kept_once_whichever_connection_brings_them():
    dedupe = make(IdKind.UNIQUE)
    assert texts(dedupe, b"a", b"b", b"a") == [True, True, False]
    assert texts(dedupe, b"c", b"b", b"d") == [True, False, True]
    assert texts(dedupe, b"a", b"e", number=1) == [True, True]
    assert texts(dedupe, b"e") == [True]
    assert dedupe.observe(batch([(0, -1), (1, -1)], [b"a", b"a"])).doubled == {0: 1, 1: 1}


def test_the_memory_of_ids_without_order_is_bounded_and_holds_the_last_while():
    dedupe = make(IdKind.UNIQUE)
    ids = [b"%d" % number for number in range(3 * KEYS_KEPT)]
    for at in range(0, len(ids), 5000):
        assert all(texts(dedupe, *ids[at : at + 5000]))
    assert not any(texts(dedupe, *ids[-KEYS_KEPT:]))
    assert all(texts(dedupe, *ids[:100]))


def test_where_trades_are_numbered_on_the_way_in_nothing_is_dropped():
    assert texts(make(IdKind.NONE), b"a", b"a") == [True, True]


HOUR_NS = 3600 * 10**9


def at(dedupe: Dedupe, rows: list[tuple[int, int]], number: int = 0):
    """Observe (id, time in ns) of one instrument; return the ids kept, and the gaps."""
    one = batch([(number, trade_id) for trade_id, _ in rows])
    seen = dedupe.observe(replace(one, timestamp=np.array([at_ns for _, at_ns in rows], np.int64)))
    mask = [True] * len(rows) if seen.keep is None else seen.keep.tolist()
    return [row[0] for row, keep in zip(rows, mask, strict=True) if keep], seen.gaps


@pytest.mark.parametrize("kind", [IdKind.MONOTONIC, IdKind.CONTIGUOUS])
def test_repeated_text_ids_are_dropped_for_any_kind_of_ids(kind: IdKind):
    dedupe = make(kind)
    assert texts(dedupe, b"a", b"b", b"a") == [True, True, False]
    assert texts(dedupe, b"c", b"b", b"d") == [True, False, True]
    assert texts(dedupe, b"a", number=1) == [True]


@pytest.mark.parametrize("kind", [IdKind.CONTIGUOUS, IdKind.MONOTONIC])
@pytest.mark.parametrize("recovered", [True, False])
def test_ids_that_start_anew_are_kept_and_the_time_between_is_a_gap(kind: IdKind, recovered: bool):
    dedupe = make(kind)
    if recovered:
        dedupe.continue_after({("venue", "spot", "S0"): (6_000_000, HOUR_NS)})
    else:
        at(dedupe, [(5_999_999, HOUR_NS - 1), (6_000_000, HOUR_NS)])
    start_ns = 2 * HOUR_NS
    got, gaps = at(dedupe, [(20 + n, start_ns + n) for n in range(50)])
    assert got == list(range(20, 70))
    (gap,) = gaps
    assert (gap.symbol, gap.from_ns, gap.to_ns, gap.first_id, gap.last_id) == ("S0", HOUR_NS, start_ns, None, None)
    assert "restarted its ids" in gap.reason and gap.state == GapState.OPEN
    assert at(dedupe, [(69, start_ns + 49), (70, start_ns + 50), (72, start_ns + 52)])[0] == [70, 72]
    assert at(dedupe, [(71, start_ns + 51), (20, start_ns), (71, start_ns + 51)])[0] == [71]


@pytest.mark.parametrize("kind", [IdKind.CONTIGUOUS, IdKind.MONOTONIC])
def test_a_repetition_is_no_new_start_though_its_time_be_new(kind: IdKind):
    dedupe = make(kind)
    at(dedupe, [(1, 1), (2, 2), (3, HOUR_NS)])
    assert at(dedupe, [(2, 2), (1, HOUR_NS + 10**9), (3, 3 * HOUR_NS)]) == ([], [])


def test_a_last_trade_that_was_reported_late_makes_no_new_start_of_the_ones_that_come_again():
    before, late = [(1, HOUR_NS), (2, HOUR_NS + 1)], (3, 1)
    for reads in ([[*before, late]], [before, [late]], [before, [(0, 1), late]], [[(0, 1), *before, late]]):
        dedupe = make(IdKind.CONTIGUOUS)
        for read in reads:
            at(dedupe, read)
        assert at(dedupe, [*before, late, (4, HOUR_NS + 2)]) == ([4], [])


@given(st.sampled_from([IdKind.CONTIGUOUS, IdKind.MONOTONIC]), st.integers(6, 600),
       st.lists(st.lists(st.tuples(st.integers(1, 40), st.integers(1, 12)), max_size=6), min_size=1, max_size=12))
def test_before_and_after_a_new_start_every_trade_is_kept_once_however_often_it_comes_again(kind, pause_s, reads):
    dedupe = make(kind)
    dedupe.continue_after({("venue", "spot", "S0"): (1000, 0)})
    end_ns = sum(len(read) for read in reads) * 10**9
    for start_id, start_ns in ((1000, 0), (0, end_ns + pause_s * 10**9)):
        sent, kept_ids = [], []
        for read in reads:
            rows = []
            for repeat, count in read:  # the next trade, then some of those before it again, each with the time it had
                sent.append((start_id + len(sent) + 1, start_ns + len(sent) * 10**9))
                rows += [sent[-1], *sent[-repeat:][:count]]
            kept_ids += at(dedupe, rows)[0] if rows else []
        assert kept_ids == [one for one, _ in sent]


def test_a_gap_of_the_former_ids_stays_open_when_they_start_anew():
    dedupe = make(IdKind.CONTIGUOUS)
    at(dedupe, [(10, 1), (20, 2)])
    at(dedupe, [(1, HOUR_NS), (2, HOUR_NS)])
    got, gaps = at(dedupe, [(n, HOUR_NS + n) for n in range(3, 30)])
    assert got == list(range(3, 30)) and not gaps


def test_a_gap_given_up_is_never_recorded_as_filled():
    dedupe, state, have = make(IdKind.CONTIGUOUS), {}, {0}
    kept(dedupe, [(0, 0)])
    script = [[(0, number)] for number in range(2, 2 * RANGES_KEPT + 1, 2)]
    script.append([(0, 2 * RANGES_KEPT + 2), (0, 999)])
    for rows in script:
        have |= {number for _, number in rows}
        for gap in kept(dedupe, rows)[1].gaps:
            state[gap.first_id] = gap.state
    assert {first for first, one in state.items() if one == GapState.FILLED} == {999}
    assert {first for first, one in state.items() if one == GapState.OPEN} == {
        number for number in range(2 * RANGES_KEPT + 2) if number not in have}


def test_the_ranges_of_a_large_gap_that_is_half_filled_are_bounded_too():
    dedupe, state = make(IdKind.CONTIGUOUS), {}
    for rows in ([0], [2], [6000], *([one] for one in range(4, 5000, 2)), [6002], [5001]):
        for gap in kept(dedupe, [(0, number) for number in rows])[1].gaps:
            state[gap.first_id, gap.last_id] = gap.state
    assert state == dict.fromkeys([(1, 1), (3, 5999), (6001, 6001)], GapState.OPEN)
    assert len(dedupe._missing[0]) <= RANGES_KEPT


@given(SCRIPTS)
def test_beyond_the_ranges_kept_an_id_is_kept_once_or_stays_in_an_open_gap(script):
    dedupe, gaps = make(IdKind.CONTIGUOUS, ranges_kept=2), {}
    ids: list[tuple[int, int]] = []
    for rows in script:
        got, seen = kept(dedupe, rows)
        ids += got
        gaps |= {(gap.symbol, gap.first_id, gap.last_id): gap.state for gap in seen.gaps}
    assert len(ids) == len(set(ids))
    first = dict(reversed(ids))
    for who, number in {(who, n) for who, low in first.items() for n in range(low, max(i for w, i in ids if w == who))}:
        if (who, number) not in ids:
            assert any(symbol == f"S{who}" and low <= number <= high and state == GapState.OPEN
                       for (symbol, low, high), state in gaps.items())


@given(SCRIPTS)
def test_contiguous_every_id_is_kept_exactly_once_and_what_is_missing_is_in_an_open_gap(script):
    dedupe = make(IdKind.CONTIGUOUS)
    seen_ids: dict[int, list[int]] = {}
    gaps: dict[tuple[str, int, int, int], GapState] = {}
    for rows in script:
        got, seen = kept(dedupe, rows)
        for instrument, number in got:
            seen_ids.setdefault(instrument, []).append(number)
        for gap in seen.gaps:
            gaps[(gap.symbol, gap.first_id, gap.last_id, gap.from_ns)] = gap.state
    arrived = {pair for rows in script for pair in rows}
    for instrument in range(3):
        ids = seen_ids.get(instrument, [])
        assert sorted(ids) == sorted({number for who, number in arrived if who == instrument})
        open_ranges = [key for key, state in gaps.items() if key[0] == f"S{instrument}" and state == GapState.OPEN]
        first_seen = ids[0] if ids else 0
        for number in range(first_seen, max(ids, default=0)):
            missing = number not in ids
            if missing:
                assert any(first <= number <= last for _, first, last, _ in open_ranges)
        for _, first, last, _ in open_ranges:
            assert any(number not in ids for number in range(first, last + 1))


def names_of(ids: dict[int, int]) -> dict[tuple[str, str, str], tuple[int, int]]:
    """Return last ids of instruments as another process leaves them; the time of an id is the id + 1."""
    return {("venue", "spot", f"S{number}"): (last_id, last_id + 1) for number, last_id in ids.items()}


def test_what_follows_another_process_without_a_jump_has_no_gap():
    dedupe = make(IdKind.CONTIGUOUS)
    kept(dedupe, [(0, 7), (0, 8), (0, 9)])
    assert dedupe.follow(names_of({0: 8, 1: 5})) == []
    got, seen = kept(dedupe, [(0, 10), (1, 5), (1, 6)])
    assert got == [(0, 10), (1, 6)] and not seen.gaps


def test_ids_between_another_process_and_the_first_own_one_are_a_gap_that_can_be_filled():
    dedupe = make(IdKind.CONTIGUOUS)
    kept(dedupe, [(0, 7), (0, 8)])
    (gap,) = dedupe.follow(names_of({0: 4}))
    assert (gap.first_id, gap.last_id, gap.symbol) == (5, 6, "S0")
    got, seen = kept(dedupe, [(0, 5), (0, 6), (0, 9), (0, 4)])
    assert got == [(0, 5), (0, 6), (0, 9)]
    assert [found.state for found in seen.gaps] == [GapState.FILLED]


def test_jumps_that_only_this_process_saw_before_it_followed_are_not_its_concern():
    dedupe = make(IdKind.CONTIGUOUS)
    kept(dedupe, [(0, 3), (0, 6), (0, 9)])
    assert [(gap.first_id, gap.last_id) for gap in dedupe.follow(names_of({0: 7}))] == [(8, 8)]


def test_ascending_ids_up_to_those_of_another_process_count_as_seen():
    dedupe = make(IdKind.MONOTONIC)
    assert dedupe.follow(names_of({1: 50})) == []
    got, _ = kept(dedupe, [(1, 40), (1, 50), (1, 60)])
    assert got == [(1, 60)]


def test_ids_that_only_another_process_saw_are_neither_a_gap_nor_kept_when_they_come_late():
    dedupe = make(IdKind.CONTIGUOUS)
    kept(dedupe, [(0, 10), (0, 11), (0, 12)])
    assert dedupe.follow(names_of({0: 15})) == []
    got, seen = kept(dedupe, [(0, 14), (0, 20)])
    assert got == [(0, 20)]
    assert [(gap.first_id, gap.last_id) for gap in seen.gaps] == [(16, 19)]


def test_ids_that_another_collector_read_meanwhile_are_no_gap_are_kept_when_they_come_and_repeat_nothing():
    dedupe = make(IdKind.CONTIGUOUS)
    kept(dedupe, [(0, 1), (0, 2), (1, 5)])
    dedupe.resume([0, 1, 2])
    got, seen = kept(dedupe, [(0, 2), (0, 9), (0, 10), (1, 6), (2, 7)])
    assert got == [(0, 9), (0, 10), (1, 6), (2, 7)] and not seen.gaps
    got, seen = kept(dedupe, [(0, 5), (0, 11)])
    assert got == [(0, 5), (0, 11)] and not seen.gaps


@pytest.mark.parametrize("number", [0, 1])
def test_after_the_first_trade_that_follows_a_pause_a_jump_is_a_gap_again(number: int):
    dedupe = make(IdKind.CONTIGUOUS)
    kept(dedupe, [(0, 1), (1, 5)])
    dedupe.resume([0, 1])
    kept(dedupe, [(0, 9), (1, 6)])  # with a jump, and without
    _, seen = kept(dedupe, [(0, 12), (1, 9)])
    assert [(gap.first_id, gap.last_id) for gap in seen.gaps if gap.symbol == f"S{number}"] == [[(10, 11)], [(7, 8)]][number]


def test_history_that_comes_before_the_first_trade_after_a_pause_opens_no_gap():
    dedupe = make(IdKind.CONTIGUOUS)
    kept(dedupe, [(0, 1)])
    dedupe.resume([0])
    assert dedupe.add_history(0, batch([(0, 6), (0, 7)])) == []
    assert kept(dedupe, [(0, 9)])[1].gaps == []


@pytest.mark.parametrize("kind", [IdKind.CONTIGUOUS, IdKind.MONOTONIC])
def test_ids_that_start_anew_during_a_pause_are_no_gap(kind: IdKind):
    dedupe = make(kind)
    kept(dedupe, [(0, 10**12)])
    dedupe.resume([0])
    rows = batch([(0, 3)])
    seen = dedupe.observe(replace(rows, timestamp=rows.timestamp + 10**13))
    assert seen.keep is None and not seen.gaps
