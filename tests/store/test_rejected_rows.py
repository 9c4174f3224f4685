"""A refused batch: everything storable is stored, the poisonous rows are named, a broken sink blames nobody."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pumpwatch.errors import ServiceUnavailable
from pumpwatch.hookspecs import WriteResult
from pumpwatch.model import TradeBatch
from pumpwatch.store.rejected_rows import store_all
from tests.trades import batch_of


class PickySink:
    """Refuses any write that holds a poisonous trade id, as QuestDB does; may or may not name the row."""

    def __init__(self, poisonous: set[int], names_row: bool) -> None:
        self.poisonous, self.names_row = poisonous, names_row
        self.stored: list[int] = []
        self.writes = 0

    def write(self, batch: TradeBatch) -> WriteResult:
        self.writes += 1
        for row, number in enumerate(batch.trade_id.tolist()):
            if number in self.poisonous:
                return WriteResult(0, [(row, f"poison {number}")] if self.names_row else ())
        self.stored += batch.trade_id.tolist()
        return WriteResult(len(batch))


@given(st.integers(1, 200).flatmap(lambda rows: st.tuples(st.just(rows), st.sets(st.integers(1, rows)))), st.booleans())
def test_what_can_be_stored_is_stored_once_and_the_rest_is_named(case: tuple[int, set[int]], names_row: bool) -> None:
    rows, poisonous = case
    sink = PickySink(poisonous, names_row)
    batch = batch_of(rows)
    if len(poisonous) == rows:
        with pytest.raises(ServiceUnavailable, match="rejects every trade"):
            store_all(sink.write, batch)
        assert not sink.stored
        return
    try:
        refused = store_all(sink.write, batch)
    except ServiceUnavailable:  # so many are bad that no probe found a good one: tried again later, nobody is blamed
        assert len(poisonous) > rows // 2
        assert not sink.stored
        return
    assert {int(batch.trade_id[row]) for row, _ in refused} == poisonous
    assert set(sink.stored) == set(range(1, rows + 1)) - poisonous


def test_one_named_row_costs_one_more_write() -> None:
    sink = PickySink({70_000}, names_row=True)
    assert store_all(sink.write, batch_of(100_000)) == [(69_999, "poison 70000")]
    assert sink.writes == 2


def test_one_unnamed_row_is_found_by_halving() -> None:
    sink = PickySink({70_000}, names_row=False)
    assert store_all(sink.write, batch_of(100_000)) == [(69_999, "rejected without a reason")]
    assert sink.writes <= 2 * 17 + 1


def test_a_sink_that_rejects_every_row_gets_only_a_few_probes() -> None:
    sink = PickySink(set(range(1, 20_001)), names_row=True)
    with pytest.raises(ServiceUnavailable, match="rejects every trade: poison"):
        store_all(sink.write, batch_of(20_000))
    assert sink.writes < 60


def test_a_run_of_bad_rows_does_not_look_like_a_broken_sink() -> None:
    sink = PickySink(set(range(1, 1_001)), names_row=True)
    assert len(store_all(sink.write, batch_of(5_000))) == 1_000
    assert len(sink.stored) >= 4_000
