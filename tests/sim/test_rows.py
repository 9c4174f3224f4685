"""Trades as exact decimals: texts, floats and base units agree."""

from __future__ import annotations

import dataclasses

import numpy as np

from pumpwatch.sim.rows import Rows, SymbolSpec, SymbolTable

TABLE = SymbolTable([
    SymbolSpec(symbol="A-USDT", coin="A", base="A", quote="USDT", price=1.0, price_decimals=3, quantity_decimals=0,
               contract_size=0.001),
    SymbolSpec(symbol="B-USDT", coin="B", base="B", quote="USDT", price=1.0, price_decimals=0, quantity_decimals=8)])


def rows() -> Rows:
    two = np.zeros(2, np.uint8)
    return Rows(TABLE, np.array([0, 1], np.int32), np.array([1, 2]), np.array([10, 20]), np.array([1050, 7]),
                np.array([3, 5_000_000]), two.astype(bool), two)


def test_texts_have_the_symbols_decimals_and_floats_are_their_values() -> None:
    assert rows().symbols() == ["A-USDT", "B-USDT"]
    assert (rows().price_texts(), rows().quantity_texts()) == (["1.050", "7"], ["3", "0.05000000"])
    assert (rows().prices().tolist(), rows().quantities().tolist()) == ([1.05, 7.0], [3.0, 0.05])


def test_contracts_become_base_units() -> None:
    assert rows().base_quantities().tolist() == [0.003, 0.05]


def test_rows_are_taken_and_joined_in_order() -> None:
    joined = Rows.concat([rows().take(slice(1, 2)), rows()])
    assert joined.trade_id.tolist() == [2, 1, 2] and len(Rows.concat([Rows.empty(TABLE), rows()])) == 2


def test_a_few_symbols_have_most_of_the_trades() -> None:
    assert TABLE.shares[0] > TABLE.shares[1] and abs(TABLE.shares.sum() - 1) < 1e-9
    assert TABLE.index == {"A-USDT": 0, "B-USDT": 1} and len(TABLE) == 2


def test_recorded_rows_keep_their_own_sequence_and_the_ids_that_are_words() -> None:
    plain = rows()
    assert (plain.ids(), plain.sequences()) == (["1", "2"], [1, 2])
    recorded = dataclasses.replace(plain, sequence=np.array([70, 70]), text_id=np.array(["", "a-word"], object))
    joined = Rows.concat([recorded, recorded.take(slice(1, 2))])
    assert (joined.ids(), joined.sequences()) == (["1", "a-word", "a-word"], [70, 70, 70])
    assert Rows.concat([recorded, plain]).sequence is None
