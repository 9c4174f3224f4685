"""Trade batches are cut, joined and shown without losing a column; gaps know the symbols that they touch."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from pumpwatch.model import BATCH_DTYPES, Columns, Flag, Gap, TradeBatch
from pumpwatch.venue import HistoryQuery, Venue


def batch_of(*ids: int, text_id: list[bytes] | None = None) -> TradeBatch:
    columns = [np.array(ids).astype(dtype) for dtype in BATCH_DTYPES]
    return TradeBatch(*columns, None if text_id is None else np.array(text_id))


def test_rows_are_taken_by_index_mask_and_slice_from_every_column() -> None:
    batch = batch_of(1, 2, 3, text_id=[b"a", b"", b"c"])
    for rows in (np.array([0, 2]), np.array([True, False, True]), slice(0, 3, 2)):
        taken = batch.take(rows)
        assert taken.trade_id.tolist() == [1, 3] and taken.text_id is not None and taken.text_id.tolist() == [b"a", b"c"]
        assert {len(column) for column in taken.columns() if column is not None} == {2} and len(taken) == 2


def test_batches_with_and_without_text_ids_are_joined() -> None:
    joined = TradeBatch.concat([batch_of(1), batch_of(2, text_id=[b"long-id"]), TradeBatch.empty()])
    assert joined.id_texts() == ["1", "long-id"] and [column.dtype for column in joined.columns()[:-1] if column is not None] == [
        np.dtype(dtype) for dtype in BATCH_DTYPES]
    assert len(TradeBatch.concat([])) == 0 and TradeBatch.concat([joined]) is joined


def test_an_id_is_its_text_unless_that_is_empty() -> None:
    assert batch_of(7, 8, text_id=[b"", b"x"]).id_texts() == ["7", "x"]
    assert batch_of(7).id_texts() == ["7"]


@pytest.mark.parametrize(("symbol", "symbols", "touched"), [
    ("A", (), ["A"]), ("", (), ["A", "B"]), ("", ("B",), ["B"])])
def test_a_gap_touches_its_symbol_those_of_its_connection_or_all(
        symbol: str, symbols: tuple[str, ...], touched: list[str]) -> None:
    gap = Gap(exchange="x", market_type="spot", symbol=symbol, symbols=symbols, from_ns=0, to_ns=1, first_id=None, last_id=None,
              reason="test")
    assert [name for name in ("A", "B") if gap.touches(name)] == touched


def test_rows_that_no_order_matched_are_marked_by_two_flags() -> None:
    assert [flag.name for flag in Flag if flag & Flag.outside_market()] == ["INSURANCE_FUND", "ADL"]
    assert Flag.takeovers() == Flag.outside_market()


def test_every_fact_of_a_venue_that_is_not_an_exception_is_required() -> None:
    required = {field.name for field in dataclasses.fields(Venue) if field.default is dataclasses.MISSING}
    assert {"limits", "heartbeat", "stale_after_s", "id_kind", "history", "parse"} <= required
    with pytest.raises(TypeError, match="rest_url"):
        Venue(exchange="x", market_type="spot", ws_url="wss://x")  # type: ignore[call-arg]


def test_new_columns_are_empty_and_their_own() -> None:
    first, second = Columns(), Columns()
    first.symbol.append("A")
    assert second.symbol == [] and HistoryQuery("A", 0, 1).first_id == -1
