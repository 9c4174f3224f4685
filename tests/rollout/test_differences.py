"""Two answers are compared to the trade: what one lacks, what differs, what is there twice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pumpwatch.model import TradeBatch
from pumpwatch.rollout.answers import KINDS
from pumpwatch.rollout.differences import DOUBLED, MISSING_HERE, MISSING_THERE, OTHER, compare
from tests.trades import batch_of, catalogue_of

CATALOGUE = catalogue_of()
BATCH = batch_of(500, start_ns=10**18)


def counts(old: TradeBatch, new: TradeBatch) -> dict[str, int]:
    return {kind: number for kind, number in compare(old, new, CATALOGUE).counts.items() if number}


def with_texts(batch: TradeBatch) -> TradeBatch:
    texts = np.array([b"x-%d" % number if number % 3 == 0 else b"" for number in batch.trade_id.tolist()])
    return replace(batch, text_id=texts)


@pytest.mark.parametrize("batch", [BATCH, with_texts(BATCH)], ids=["numbers", "texts"])
def test_the_same_trades_in_another_order_do_not_differ(batch: TradeBatch) -> None:
    mixed = batch.take(np.random.default_rng(2).permutation(len(batch)))
    assert counts(batch, mixed) == {}
    assert counts(TradeBatch.empty(), TradeBatch.empty()) == {}
    assert compare(batch, mixed, CATALOGUE).text() == ""


def test_each_kind_is_told_from_the_others_with_an_example() -> None:
    changed = BATCH.take(slice(2, None))
    price, timestamp = changed.price.copy(), changed.timestamp.copy()
    price[10] += 0.5
    timestamp[20] += 1
    changed = replace(changed, price=price, timestamp=timestamp)
    twice = BATCH.take(slice(100, 103))
    unknown = batch_of(1, first_id=9_999, start_ns=10**18)
    found = compare(BATCH, TradeBatch.concat([changed, twice, unknown]), CATALOGUE)
    assert found.counts == {MISSING_THERE: 2, MISSING_HERE: 1, OTHER: 2, DOUBLED: 3}
    assert found.total == 8
    assert "9999 at 1000000000000000000" in found.examples[MISSING_HERE]
    assert found.text().startswith("missing in the sink: 2, such as binance ")


def test_a_trade_that_differs_and_is_there_twice_is_both() -> None:
    one = BATCH.take(slice(0, 1))
    other = replace(one, price=one.price + 1)
    assert counts(one, TradeBatch.concat([other, other])) == {OTHER: 1, DOUBLED: 1}
    assert counts(one, TradeBatch.concat([one, other])) == {DOUBLED: 1}


@given(st.lists(st.sampled_from(["keep", "drop", "double", "change"]), min_size=1, max_size=60))
def test_what_was_done_to_the_trades_is_what_is_found(done: list[str]) -> None:
    old = BATCH.take(slice(0, len(done)))
    parts = []
    for row, what in enumerate(done):
        one = old.take(slice(row, row + 1))
        parts += {"keep": [one], "drop": [], "double": [one, one], "change": [replace(one, quantity=one.quantity * 2)]}[what]
    expected = {MISSING_THERE: done.count("drop"), OTHER: done.count("change"), DOUBLED: done.count("double"), MISSING_HERE: 0}
    assert compare(old, TradeBatch.concat(parts), CATALOGUE).counts == {kind: expected[kind] for kind in KINDS}
