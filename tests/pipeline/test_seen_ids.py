"""Trades that come from a history: none is seen twice, and none opens or hides a gap."""

from __future__ import annotations

import numpy as np

from pumpwatch.catalogue import Catalogue
from pumpwatch.model import GapState, IdKind, Instrument
from pumpwatch.pipeline.dedupe import Dedupe
from pumpwatch.pipeline.seen_ids import RESTART_NS, UNSEEN
from tests.pipeline.history_rows import rows

NAME = ("venue", "spot", "S0")


def make(kind: IdKind, last: tuple[int, int] | None = None) -> Dedupe:
    catalogue = Catalogue()
    catalogue.add(NAME[:2], Instrument(symbol="S0", base="S0", quote="USDT"))
    dedupe = Dedupe(catalogue, lambda exchange, market_type: kind)
    if last:
        dedupe.continue_after({NAME: last})
    return dedupe


def kept(dedupe: Dedupe, *ids: int) -> list[int]:
    batch = rows(*((number, 1.0) for number in ids))
    keep = dedupe.observe(batch).keep
    return batch.trade_id.tolist() if keep is None else batch.trade_id[keep].tolist()


def history(*ids: int):
    return rows(*((number, 1.0) for number in ids))


def test_missing_ids_that_come_from_the_history_complete_the_gap_and_are_dropped_when_they_come_late():
    dedupe = make(IdKind.CONTIGUOUS)
    kept(dedupe, 1, 2, 6)
    (gap,) = dedupe.add_history(0, history(3, 4, 5))
    assert (gap.first_id, gap.last_id, gap.state) == (3, 5, GapState.FILLED)
    assert kept(dedupe, 4, 7) == [7]


def test_a_part_of_the_missing_ids_leaves_the_gap_open():
    dedupe = make(IdKind.CONTIGUOUS)
    kept(dedupe, 1, 2, 6)
    assert dedupe.add_history(0, history(4)) == []
    assert dedupe.seen_in_run(0, history(2, 3, 4, 5, 6, 7)).tolist() == [True, False, True, False, True, False]


def test_ids_of_the_downtime_are_not_missing_when_the_next_trade_comes():
    dedupe = make(IdKind.CONTIGUOUS, (10, 100))
    assert dedupe.add_history(0, history(11, 12, 13)) == []
    assert kept(dedupe, 14) == [14]
    assert kept(dedupe, 12, 13, 15) == [15]  # a replay


def test_a_replay_of_fetched_ids_is_no_restart_of_the_venue_s_ids():
    late = 10 + RESTART_NS // 10
    dedupe = make(IdKind.CONTIGUOUS, (10, 100))
    dedupe.add_history(0, history(11, late))
    seen = dedupe.observe(history(late))
    assert seen.keep is not None and not seen.keep.any() and not seen.gaps


def test_a_jump_within_the_history_is_a_gap():
    dedupe = make(IdKind.CONTIGUOUS, (10, 100))
    (gap,) = dedupe.add_history(0, history(15, 16))
    assert (gap.first_id, gap.last_id, gap.state) == (11, 14, GapState.OPEN)
    assert [found.state for found in dedupe.add_history(0, history(11, 12, 13, 14))] == [GapState.FILLED]


def test_ids_of_an_earlier_run_were_not_seen_in_this_one():
    dedupe = make(IdKind.CONTIGUOUS, (10, 100))
    kept(dedupe, 11, 13)
    assert dedupe.seen_in_run(0, history(9, 10, 11, 12, 13)).tolist() == [False, False, True, False, True]


def test_fetched_trades_are_not_a_sign_of_life():
    dedupe = make(IdKind.CONTIGUOUS, (10, 100))
    dedupe.add_history(0, history(11))
    assert dedupe.last_times(np.array([0], np.int32)).tolist() == [100]
    assert dedupe.last_ids(np.array([0], np.int32)).tolist() == [11]


def test_the_first_trades_of_a_symbol_may_come_from_the_history():
    dedupe = make(IdKind.CONTIGUOUS)
    assert dedupe.last_ids(np.array([0], np.int32)).tolist() == [UNSEEN]
    assert dedupe.add_history(0, history(7, 8)) == []
    assert kept(dedupe, 8, 9) == [9]


def test_older_trades_than_the_first_one_are_dropped_when_they_come_again():
    dedupe = make(IdKind.CONTIGUOUS)
    kept(dedupe, 7)
    dedupe.add_history(0, history(5, 6))
    assert kept(dedupe, 6, 8) == [8]


def test_ascending_ids_from_the_history_are_known_afterwards():
    dedupe = make(IdKind.MONOTONIC)
    kept(dedupe, 10, 30)
    assert dedupe.seen_in_run(0, history(10, 20, 30)).tolist() == [True, False, True]
    dedupe.add_history(0, history(20, 25))
    assert dedupe.seen_in_run(0, history(20, 25)).all()
    assert kept(dedupe, 20, 31) == [31]


def test_ascending_ids_behind_the_last_one_move_it():
    dedupe = make(IdKind.MONOTONIC, (10, 100))
    dedupe.add_history(0, history(20))
    assert kept(dedupe, 20, 22) == [22]


def test_ids_without_order_from_the_history_are_known_afterwards():
    dedupe = make(IdKind.UNIQUE)
    trades = rows((10, 1.0), (20, 1.0), texts=[b"aa", b"bb"])
    assert not dedupe.seen_in_run(0, trades).any()
    assert dedupe.add_history(0, trades) == [] and dedupe.seen_in_run(0, trades).all()
    keep = dedupe.observe(trades).keep
    assert keep is not None and not keep.any()


def whole(dedupe: Dedupe, from_ns: int, to_ns: int) -> bool:
    return bool(dedupe.continuous(np.array([0], np.int32), from_ns, to_ns)[0])


def test_ids_that_go_on_behind_a_gap_prove_that_nothing_is_missing():
    dedupe = make(IdKind.CONTIGUOUS, (10, 100))
    assert not whole(dedupe, 105, 150)  # no trade has come since
    kept(dedupe, 11, 12, 16)
    assert not whole(dedupe, 105, 150)  # some are missing
    dedupe.add_history(0, history(13, 14, 15))
    assert whole(dedupe, 105, 150)
    assert not whole(dedupe, 90, 150)  # it began before the last trade of the earlier run
    assert not whole(dedupe, 105, 161)


def test_a_symbol_that_was_never_read_before_the_gap_proves_nothing():
    dedupe = make(IdKind.CONTIGUOUS)
    kept(dedupe, 20)
    assert not whole(dedupe, 100, 150) and not whole(dedupe, 201, 250)
    kept(dedupe, 21, 22, 23, 24, 25)
    assert whole(dedupe, 201, 250)


def test_ids_that_ascend_and_skip_prove_nothing():
    dedupe = make(IdKind.MONOTONIC, (10, 100))
    kept(dedupe, 11, 12, 13, 14, 15, 16)
    assert not whole(dedupe, 105, 150)


def test_a_symbol_whose_only_trades_were_fetched_has_not_traded_on_the_stream():
    dedupe = make(IdKind.CONTIGUOUS)
    dedupe.add_history(0, history(7, 8))
    assert dedupe.last_times(np.array([0], np.int32)).tolist() == [0]
    (gap,) = dedupe.observe(history(11)).gaps
    assert (gap.first_id, gap.last_id, gap.from_ns, gap.to_ns) == (9, 10, 80, 111)
