"""Telling trades apart where a venue sends no ids."""

from __future__ import annotations

import numpy as np

from pumpwatch.catalogue import Catalogue
from pumpwatch.model import NO_SEQUENCE, Instrument, TradeBatch
from pumpwatch.pipeline import synthetic_ids as occurrence
from pumpwatch.pipeline.parse import Parsed
from pumpwatch.pipeline.synthetic_ids import KEPT, SyntheticIds


def make(recovered=None) -> SyntheticIds:
    catalogue = Catalogue()
    for symbol in ("A", "B"):
        catalogue.add(("venue", "spot"), Instrument(symbol=symbol, base=symbol, quote="USDT"))
    return SyntheticIds(catalogue, recovered or {})


def number(occurrences: SyntheticIds, *rows: tuple[int, bytes], past: bool = False, instrument: int = 0):
    count = len(rows)
    ones = np.ones(count)
    batch = TradeBatch(np.array([row[0] for row in rows]), np.full(count, instrument, np.int32), ones, ones,
                       np.zeros(count, np.uint8), np.full(count, -1), np.full(count, NO_SEQUENCE), ones.astype(np.int64),
                       np.zeros(count, np.uint8), np.array([row[1] for row in rows]))
    numbered, gaps = occurrences.number(Parsed(batch, None, np.full(count, past) if past else None))
    fresh = numbered.batch
    return list(zip(fresh.timestamp.tolist(), fresh.text_id.tolist(), strict=True)), gaps


def test_equal_trades_of_one_moment_are_told_apart_within_and_across_frames():
    one = make()
    assert number(one, (5, b"x"), (5, b"x"), (5, b"y"))[0] == [(5, b"x"), (5, b"x#1"), (5, b"y")]
    assert number(one, (5, b"x"), (6, b"x"))[0] == [(5, b"x#2"), (6, b"x")]


def test_history_of_a_symbol_never_seen_is_left_out_and_counted():
    one = make()
    assert number(one, (1, b"x"), (2, b"y"), past=True) == ([], [])
    assert one.left_out == 2


def test_recording_starts_where_the_first_history_ends_so_that_a_break_before_the_first_trade_loses_none():
    one = make()
    number(one, (1, b"x"), (2, b"y"), past=True)
    fresh, gaps = number(one, (1, b"x"), (2, b"y"), (2, b"z"), (3, b"x"), past=True)
    assert fresh == [(2, b"z"), (3, b"x")] and gaps == []
    assert number(one, (3, b"x"))[0] == [(3, b"x#1")]


def test_the_first_live_trades_of_a_connection_are_kept_though_the_history_of_another_one_has_them():
    for first in (2, 1):  # which connection's rows come first
        one = make()
        rows = [(2, 1, b"w", True), (2, 2, b"x", True), (2, 2, b"y", True), (1, 1, b"w", False), (1, 2, b"x", False),
                (1, 2, b"y", False), (1, 3, b"z", False), (2, 3, b"z", False), (2, 2, b"x", False)]
        source, at, text, past = zip(*sorted(rows, key=lambda row: row[0] != first), strict=True)
        ones = np.ones(len(rows))
        batch = TradeBatch(np.array(at), np.zeros(len(rows), np.int32), ones, ones, np.zeros(len(rows), np.uint8),
                           np.full(len(rows), -1), np.full(len(rows), NO_SEQUENCE), ones.astype(np.int64),
                           np.zeros(len(rows), np.uint8), np.array(text))
        fresh = one.number(Parsed(batch, None, np.array(past), source=np.array(source)))[0].batch
        kept = [(at_ns, name.partition(b"#")[0]) for at_ns, name in
                zip(fresh.timestamp.tolist(), fresh.text_id.tolist(), strict=True)]
        assert sorted(set(kept)) == [(1, b"w"), (2, b"x"), (2, b"y"), (3, b"z")], first


def test_what_is_older_than_the_first_trade_seen_is_never_taken_up_later():
    one = make()
    number(one, (10, b"a"))
    fresh, gaps = number(one, (3, b"x"), (9, b"y"), (10, b"a"), (10, b"b"), (11, b"c"), past=True)
    assert fresh == [(10, b"b"), (11, b"c")] and gaps == []


def test_what_another_collector_read_meanwhile_is_no_gap_and_what_is_missed_later_is_one():
    one = make()
    number(one, (10, b"a"))
    one.resume([0])
    assert number(one, (50, b"x"), (51, b"y"), past=True) == ([(50, b"x"), (51, b"y")], [])
    _, (gap,) = number(one, (90, b"x"), past=True)
    assert (gap.symbol, gap.from_ns, gap.to_ns) == ("A", 51, 90)


def test_the_same_history_twice_in_one_batch_is_one_history():
    one = make()
    number(one, (1, b"a"), (1, b"a"))
    rows = [(1, b"a"), (1, b"a"), (1, b"a"), (2, b"b")]
    assert number(one, *rows, *rows, past=True)[0] == [(1, b"a#2"), (2, b"b")]


def test_the_same_history_twice_is_one_where_its_oldest_rows_are_out_of_reach():
    one = make()
    number(one, (3, b"w"), past=True)
    rows = [(2, b"y"), (3, b"x")]
    assert number(one, *rows, *rows, past=True)[0] == [(3, b"x")]


def test_history_and_what_follows_it_live_may_come_in_one_batch():
    one = make()
    count = 4
    ones = np.ones(count)
    batch = TradeBatch(np.array([1, 2, 3, 3]), np.zeros(count, np.int32), ones, ones, np.zeros(count, np.uint8),
                       np.full(count, -1), np.full(count, NO_SEQUENCE), ones.astype(np.int64), np.zeros(count, np.uint8),
                       np.array([b"a", b"b", b"c", b"c"]))
    fresh, _ = one.number(Parsed(batch, None, np.array([True, True, False, False])))
    assert fresh.batch.text_id.tolist() == [b"c", b"c#1"] and one.left_out == 2
    assert fresh.past is not None and not fresh.past.any()


def test_after_a_reconnect_history_gives_only_what_was_missed():
    one = make()
    number(one, (1, b"a"), (2, b"b"), (2, b"b"))
    fresh, gaps = number(one, (1, b"a"), (2, b"b"), (2, b"b"), (2, b"b"), (3, b"c"), past=True)
    assert fresh == [(2, b"b#2"), (3, b"c")] and gaps == []
    assert number(one, (3, b"c"), (4, b"d"))[0] == [(3, b"c#1"), (4, b"d")]


def test_history_that_does_not_reach_back_leaves_a_gap_with_its_bounds():
    one = make()
    number(one, (10, b"a"))
    fresh, (gap,) = number(one, (20, b"b"), (21, b"c"), past=True)
    assert fresh == [(20, b"b"), (21, b"c")]
    assert (gap.symbol, gap.from_ns, gap.to_ns) == ("A", 10, 20)


def test_after_a_restart_history_is_taken_from_the_last_stored_trade_on():
    one = make({("venue", "spot", "A"): (-1, 10)})
    fresh, gaps = number(one, (9, b"a"), (10, b"b"), (11, b"c"), past=True)
    assert fresh == [(11, b"c")] and gaps == []


def test_symbols_do_not_mix():
    one = make()
    number(one, (1, b"a"))
    assert number(one, (1, b"a"), instrument=1)[0] == [(1, b"a")]


def test_a_trade_out_of_its_order_is_numbered_among_all_its_equals():
    one = make()
    assert number(one, (1, b"a"), (2, b"a"), (3, b"b"), (2, b"a"), (4, b"a"), (2, b"a"), (1, b"b"))[0] == [
        (1, b"a"), (2, b"a"), (3, b"b"), (2, b"a#1"), (4, b"a"), (2, b"a#2"), (1, b"b")]
    assert number(one, (4, b"a"), (3, b"b"))[0] == [(4, b"a#1"), (3, b"b#1")]


def test_the_memory_of_an_instrument_that_only_goes_on_is_cut_back(monkeypatch):
    monkeypatch.setattr(occurrence, "CUT_AFTER", KEPT)
    one = make()
    for start in range(0, 10 * KEPT, 100):
        number(one, *((at, b"t") for at in range(start, start + 100)))
    (known,) = one._known.values()
    assert len(known.later) < 3 * KEPT
    last = 10 * KEPT - 1
    assert number(one, (last - KEPT * 3, b"t"), (last - 5, b"t"), (last, b"t"), (last, b"u"), past=True)[0] == [(last, b"u")]


def test_memory_is_bounded_and_history_older_than_it_is_left_out():
    one = make()
    number(one, *((at, b"t") for at in range(KEPT + 10)))
    assert number(one, (5, b"t"), (5, b"u"), (KEPT + 20, b"t"), past=True)[0] == [(KEPT + 20, b"t")]



def heard(occurrences: SyntheticIds, *rows: tuple[int, int, bytes], past: bool = False, received_ns: int = 1):
    """Return what is new of rows (connection, time, text)."""
    count = len(rows)
    ones = np.ones(count)
    batch = TradeBatch(np.array([row[1] for row in rows]), np.zeros(count, np.int32), ones, ones, np.zeros(count, np.uint8),
                       np.full(count, -1), np.full(count, NO_SEQUENCE), np.full(count, received_ns), np.zeros(count, np.uint8),
                       np.array([row[2] for row in rows]))
    numbered, _ = occurrences.number(Parsed(batch, None, np.full(count, past) if past else None,
                                            source=np.array([row[0] for row in rows])))
    assert numbered.source is not None and len(numbered.source) == len(numbered.batch)
    return list(zip(numbered.batch.timestamp.tolist(), numbered.batch.text_id.tolist(), strict=True))


def test_what_two_connections_bring_is_counted_for_each_of_them():
    one = make()
    assert heard(one, (1, 5, b"x"), (1, 5, b"x")) == [(5, b"x"), (5, b"x#1")]
    assert heard(one, (2, 6, b"x"), (1, 6, b"x"), (1, 6, b"x"), (2, 6, b"x"), (2, 6, b"x")) == [
        (6, b"x"), (6, b"x#1"), (6, b"x#2")]
    assert heard(one, (1, 6, b"x"), (1, 7, b"x"), (2, 7, b"x")) == [(7, b"x")] and one.repeated == 4


def test_a_successor_brings_history_beside_a_connection_that_lags():
    one = make()
    heard(one, (1, 1, b"a"), (1, 2, b"b"))
    assert heard(one, (2, 1, b"a"), (2, 2, b"b"), (2, 3, b"c"), (2, 3, b"c"), past=True) == [(3, b"c"), (3, b"c#1")]
    assert heard(one, (1, 3, b"c"), (1, 3, b"c"), (1, 4, b"d")) == [(4, b"d")]  # the old one comes later, and is further then
    assert heard(one, (2, 3, b"c"), (2, 4, b"d"), (2, 5, b"e")) == [(3, b"c#2"), (5, b"e")]


def test_a_minute_after_the_old_connection_has_gone_all_is_as_before():
    one = make()
    heard(one, (1, 1, b"a"))
    heard(one, (2, 2, b"a"))
    assert heard(one, (2, 3, b"a"), received_ns=occurrence.BESIDE_NS + 2) == [(3, b"a")]
    (known,) = one._known.values()
    assert not known.beside and known.later == [(3, b"a")]


def test_while_two_connections_bring_thousands_the_one_behind_brings_nothing_new():
    one = make()
    rows = [(at, b"t") for at in range(5 * KEPT)]
    heard(one, *((1, *row) for row in rows[:10]))
    assert heard(one, *((2, *row) for row in rows[10:])) == rows[10:]
    assert heard(one, *((1, *row) for row in rows[10:])) == []


def test_counts_of_two_connections_that_are_old_are_forgotten_from_time_to_time():
    one = make()
    step_ns = occurrence.BEHIND_NS // KEPT
    rows = [(at * step_ns, b"t") for at in range(3 * KEPT)]
    heard(one, *((source, *row) for row in rows for source in (1, 2)))
    (known,) = one._known.values()
    known.cut()
    assert KEPT <= len(known._counts) <= KEPT + 2 and all(len(brought) <= KEPT + 2 for brought in known.beside.values())
    assert heard(one, *((1, *row) for row in rows[-10:]), past=True) == []
    assert heard(one, (1, 4 * KEPT * step_ns, b"u"), (2, 4 * KEPT * step_ns, b"u")) == [(4 * KEPT * step_ns, b"u")]


def test_a_connection_that_was_replaced_is_forgotten():
    one = make()
    for at in range(1, 40):
        heard(one, (1, at, b"t"), (100 + at, at, b"t"), received_ns=at * occurrence.BESIDE_NS // 2)
    (known,) = one._known.values()
    assert len(known.beside) <= 5


def test_the_connection_that_was_first_is_known():
    one = make()
    heard(one, (1, 1, b"a"), (2, 1, b"a"))
    heard(one, (2, 2, b"a"), received_ns=10)
    heard(one, (1, 2, b"a"), received_ns=35)
    assert (0, 2, 1, 25) in one.races


def framed(occurrences: SyntheticIds, *frames: tuple[int, list[tuple[int, bytes]]],
           past: bool = False) -> list[tuple[int, bytes]]:
    """Frames are (sequence, rows), of one symbol; return what is new of them."""
    rows = [row for _, part in frames for row in part]
    count, ones = len(rows), np.ones(len(rows))
    sequences = np.repeat([sequence for sequence, _ in frames], [len(part) for _, part in frames])
    batch = TradeBatch(np.array([row[0] for row in rows]), np.zeros(count, np.int32), ones, ones, np.zeros(count, np.uint8),
                       np.full(count, -1), sequences, ones.astype(np.int64), np.zeros(count, np.uint8),
                       np.array([row[1] for row in rows]))
    number_of = np.repeat(np.arange(len(frames)), [len(part) for _, part in frames])
    numbered, _ = occurrences.number(Parsed(batch, None, np.full(count, past) if past else None, number_of))
    return list(zip(numbered.batch.timestamp.tolist(), numbered.batch.text_id.tolist(), strict=True))


def test_a_frame_that_the_venue_sends_again_is_dropped_at_once_and_later():
    one = make()
    assert framed(one, (7, [(5, b"x")]), (7, [(5, b"x")])) == [(5, b"x")]
    assert framed(one, (8, [(6, b"x"), (6, b"x")]), (9, [(7, b"y")]), (8, [(6, b"x"), (6, b"x")])) == [
        (6, b"x"), (6, b"x#1"), (7, b"y")]
    assert framed(one, (7, [(5, b"x")]), (8, [(6, b"x"), (6, b"x")])) == []
    assert one.repeated == 6


def test_equal_trades_under_another_sequence_or_beside_other_ones_are_trades():
    one = make()
    assert framed(one, (7, [(5, b"x")]), (8, [(5, b"x")])) == [(5, b"x"), (5, b"x#1")]
    assert framed(one, (8, [(5, b"x"), (6, b"y")]), (8, [(6, b"z")])) == [(5, b"x#2"), (6, b"y"), (6, b"z")]
    assert one.repeated == 0


def test_a_frame_that_comes_again_with_history_leaves_what_history_says():
    one = make()
    framed(one, (7, [(5, b"x")]))
    assert framed(one, (9, [(5, b"x"), (6, b"y")]), past=True) == [(6, b"y")]
    assert framed(one, (9, [(6, b"y"), (7, b"y")]), past=True) == [(7, b"y")]


def test_rows_of_history_and_of_frames_that_come_again_may_be_in_one_batch():
    one = make()
    framed(one, (7, [(5, b"x")]))
    rows = [(5, b"x"), (5, b"x"), (6, b"y")]
    count, ones = 3, np.ones(3)
    batch = TradeBatch(np.array([at for at, _ in rows]), np.zeros(count, np.int32), ones, ones, np.zeros(count, np.uint8),
                       np.full(count, -1), np.array([9, 7, 10]), ones.astype(np.int64), np.zeros(count, np.uint8),
                       np.array([text for _, text in rows]))
    numbered, _ = one.number(Parsed(batch, None, np.array([True, False, False]), np.arange(3)))
    assert numbered.batch.timestamp.tolist() == [6] and (one.left_out, one.repeated) == (1, 1)


HOURS_NS = 3 * 3600 * 10**9


def test_a_trade_stamped_hours_ahead_is_kept_once_and_hides_no_history_of_the_others():
    one = make()

    def given(*rows: tuple[int, bytes], past: bool = False) -> list[tuple[int, bytes]]:
        count, ones = len(rows), np.ones(len(rows))
        times = np.array([at for at, _ in rows])
        batch = TradeBatch(times, np.zeros(count, np.int32), ones, ones, np.zeros(count, np.uint8), np.full(count, -1),
                           np.full(count, NO_SEQUENCE), ones.astype(np.int64), np.zeros(count, np.uint8),
                           np.array([text for _, text in rows]))
        numbered, gaps = one.number(Parsed(batch, None, np.full(count, past) if past else None, None,
                                           np.where(times > HOURS_NS, 100, times)))
        assert gaps == []
        return list(zip(numbered.batch.timestamp.tolist(), numbered.batch.text_id.tolist(), strict=True))

    assert given((10, b"a"), (HOURS_NS + 1, b"x"), past=True) == []
    assert given((11, b"b"), (HOURS_NS + 5, b"y"), (12, b"c")) == [(11, b"b"), (HOURS_NS + 5, b"y"), (12, b"c")]
    assert given((HOURS_NS + 5, b"y")) == [(HOURS_NS + 5, b"y#1")]
    assert given((11, b"b"), (12, b"c"), (13, b"d"), (HOURS_NS + 1, b"x"), (HOURS_NS + 5, b"y"), past=True) == [(13, b"d")]



def test_a_frame_that_comes_on_two_connections_is_counted_for_each_of_them():
    one = make()
    ones = np.ones(2)

    def frame(sequence: int, source: int) -> list[bytes]:
        batch = TradeBatch(np.array([5, 5]), np.zeros(2, np.int32), ones, ones, np.zeros(2, np.uint8), np.full(2, -1),
                           np.full(2, sequence), ones.astype(np.int64), np.zeros(2, np.uint8), np.array([b"x", b"x"]))
        return one.number(Parsed(batch, None, None, np.zeros(2, np.intp), source=np.full(2, source)))[0].batch.text_id.tolist()

    assert frame(7, 1) == [b"x", b"x#1"] and frame(7, 1) == []  # the same frame again
    assert frame(7, 2) == [] and frame(8, 2) == [b"x#2", b"x#3"] and frame(8, 1) == []
    assert one.repeated == 6


def test_trades_fetched_from_the_history_are_not_new_when_the_venue_sends_them_again():
    one = make({("venue", "spot", "A"): (-1, 4)})
    one.add_history(0, [(5, b"x"), (5, b"x"), (7, b"y")])
    assert one.counts(0, [(5, b"x"), (7, b"y"), (8, b"z")]) == [2, 1, 0]
    assert number(one, (5, b"x"), (5, b"x"), (7, b"y"), (8, b"z"), past=True)[0] == [(8, b"z")]


def test_trades_fetched_from_the_history_were_seen_when_a_connection_brings_them_late():
    one = make({("venue", "spot", "A"): (-1, 4)})
    one.add_history(0, [(5, b"x"), (5, b"x"), (7, b"y")])
    assert number(one, (5, b"x"), (7, b"y"), (8, b"z"))[0] == [(8, b"z")]
    assert number(one, (5, b"x"), (5, b"x"), (7, b"y"))[0] == [(5, b"x#2"), (7, b"y#1")]  # one more than was fetched
    assert one.repeated == 3


def test_fetched_trades_that_two_connections_bring_late_were_seen():
    one = make({("venue", "spot", "A"): (-1, 4)})
    assert heard(one, (1, 5, b"w")) == [(5, b"w")]
    one.add_history(0, [(6, b"x")])
    assert heard(one, (2, 5, b"w")) == []
    one.add_history(0, [(7, b"y")])
    assert heard(one, (1, 6, b"x"), (1, 7, b"y"), (1, 8, b"z")) == [(8, b"z")]
    assert heard(one, (2, 6, b"x"), (2, 7, b"y"), (2, 8, b"z")) == []
