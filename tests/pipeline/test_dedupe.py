"""Dropping doubles and noticing jumps, by column and trade by trade."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pumpwatch.catalogue import Catalogue
from pumpwatch.model import NO_SEQUENCE, GapState, IdKind, Instrument, TradeBatch
from pumpwatch.pipeline.dedupe import Dedupe


def make(kind: IdKind, symbols: int = 3) -> Dedupe:
    catalogue = Catalogue()
    for number in range(symbols):
        catalogue.add(("venue", "spot"), Instrument(symbol=f"S{number}", base=f"S{number}", quote="USDT"))
    return Dedupe(catalogue, lambda exchange, market_type: kind)


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
    dedupe.take_up({("venue", "spot", "S2"): (100, 5)})
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


def test_without_order_doubles_are_dropped_only_while_the_source_may_be_doubled():
    dedupe = make(IdKind.NONE)
    before = batch([(0, -1), (0, -1), (1, -1)], [b"a", b"b", b"a"])
    dedupe.observe(before)
    dedupe.expect_doubles([0, 1], before)
    seen = dedupe.observe(batch([(0, -1), (0, -1), (1, -1), (1, -1)], [b"b", b"c", b"a", b"b"]))
    assert seen.keep.tolist() == [False, True, False, True]
    dedupe.forget_doubles([0, 1])
    assert dedupe.observe(batch([(0, -1)], [b"b"])).keep is None


def test_monotonic_doubles_after_a_reconnect_are_dropped():
    dedupe = make(IdKind.MONOTONIC)
    before = batch([(0, 10), (0, 12)])
    dedupe.observe(before)
    dedupe.expect_doubles([0], before)
    seen = dedupe.observe(batch([(0, 10), (0, 11), (0, 12), (0, 15)]))
    assert seen.keep.tolist() == [False, True, False, True]


@given(st.lists(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 30)), max_size=12), max_size=12))
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
