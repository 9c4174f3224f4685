"""Stored trades are compared with the ground truth, by id or by content."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from pumpwatch.catalogue import Catalogue
from pumpwatch.model import Instrument, TradeBatch
from pumpwatch.sim.ground_truth import NO_SUBSCRIBER, RECORD, Truth
from pumpwatch.sim.reconcile import compare, names_of, numbered


@pytest.fixture
def catalogue() -> Catalogue:
    known = Catalogue()
    known.add_if_new(("fake", "spot"), Instrument(symbol="AAA", base="AAA", quote="USDT"))
    return known


def truth_of(count: int) -> Truth:
    records = np.zeros(count, RECORD)
    records["trade_id"] = np.arange(1, count + 1)
    records["timestamp"], records["price"], records["quantity"] = records["trade_id"] * 10, 2.5, 4.0
    return Truth(records, ["fake.spot"], [["AAA"]], [])


def stored_of(*ids: int) -> TradeBatch:
    numbers, count = np.array(ids), len(ids)
    zeros = np.zeros(count, np.uint8)
    return TradeBatch(numbers * 10, zeros.astype(np.int32), np.full(count, 2.5), np.full(count, 4.0), zeros, numbers, numbers,
                      numbers, zeros)


def test_equal_sides_are_equal(catalogue: Catalogue) -> None:
    assert compare(truth_of(3), stored_of(2, 1, 3), catalogue).equal
    assert names_of(truth_of(1)) == [("fake", "spot", "AAA")]


@pytest.mark.parametrize(("stored", "field", "count"), [
    (stored_of(1, 3), "missing", 1), (stored_of(1, 2, 2, 3), "doubled", 1), (stored_of(1, 2, 3, 9), "unknown", 1),
    (dataclasses.replace(stored_of(1, 2, 3), price=np.array([2.5, 9.0, 2.5])), "different", 1)])
def test_each_difference_is_counted_by_its_kind(stored: TradeBatch, field: str, count: int, catalogue: Catalogue) -> None:
    found = compare(truth_of(3), stored, catalogue)
    figures = found.figures()
    assert not found.equal and figures[field] == count
    assert {name: number for name, number in figures.items() if name not in (field, "sent", "stored")} == {
        name: 0 for name in ("missing", "doubled", "unknown", "different", "fetched") if name != field}
    assert found.lost["trade_id"].tolist() == ([2] if field == "missing" else [])


def test_trades_without_ids_are_matched_by_content(catalogue: Catalogue) -> None:
    texts = dataclasses.replace(stored_of(1, 2, 3), text_id=np.array([b"buy|1", b"buy|2", b"buy|3"]),
                                trade_id=np.zeros(3, np.int64))
    assert compare(truth_of(3), texts, catalogue).equal
    assert compare(truth_of(3), texts.take(slice(2)), catalogue).missing == 1


def test_trades_that_no_connection_got_may_be_there_and_are_missing_only_if_all_that_were_made_are_wanted(
        catalogue: Catalogue) -> None:
    truth = truth_of(3)
    truth.records["state"][2] = NO_SUBSCRIBER
    whole = compare(truth, stored_of(1, 2, 3), catalogue)
    assert whole.equal and (whole.sent, whole.stored, whole.fetched) == (2, 3, 1)
    assert compare(truth, stored_of(1, 2), catalogue).equal
    assert compare(truth, stored_of(1, 2), catalogue, made=True).missing == 1


def test_equal_trades_without_ids_are_counted_and_those_that_were_sent_come_first(catalogue: Catalogue) -> None:
    truth = truth_of(4)
    truth.records["timestamp"], truth.records["state"][0] = 10, NO_SUBSCRIBER
    texts = dataclasses.replace(stored_of(1, 1, 1, 1), text_id=np.array([b"buy|1", b"buy|2", b"buy|3", b"buy|3"]),
                                trade_id=np.zeros(4, np.int64))
    found = compare(truth, texts, catalogue)
    assert (found.sent, found.missing, found.doubled, found.fetched, found.unknown) == (3, 0, 1, 0, 0)
    assert compare(truth, texts, catalogue, made=True).missing == 1
    other = compare(truth, dataclasses.replace(texts, price=np.array([2.5, 2.5, 9.0, 9.0])), catalogue)
    assert (other.missing, other.doubled, other.unknown) == (1, 1, 1)


def test_rows_get_equal_numbers_if_all_their_columns_are_equal_in_any_table() -> None:
    first = np.array([2, 1, 2, 1]), np.array([0.5, 0.5, 0.5, 1.5]), np.array([b"a", b"b", b"a", b"b"])
    second = np.array([1, 3]), np.array([1.5, 0.0]), np.array([b"b", b"c"])
    assert [numbers.tolist() for numbers in numbered(first, second)] == [[2, 0, 2, 1], [1, 3]]
    assert [numbers.tolist() for numbers in numbered((np.empty(0),), (np.empty(0),))] == [[], []]
