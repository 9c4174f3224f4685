"""Ground truth: what is written is what is read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pumpwatch.errors import StorageError
from pumpwatch.sim import ground_truth as truth_module
from pumpwatch.sim.ground_truth import DOUBLED, NO_SUBSCRIBER, SENT, TruthWriter, id_number, load_truth, records_of
from pumpwatch.sim.rows import VOID, Rows, SymbolSpec, SymbolTable

TABLE = SymbolTable([SymbolSpec(symbol=name, coin=name, base=name, quote="USDT", price=1.0, price_decimals=3,
                                quantity_decimals=0) for name in ("AUSDT", "BUSDT")])


def rows_of(*ids: int, flags: int = 0) -> Rows:
    count = len(ids)
    return Rows(TABLE, np.arange(count, dtype=np.int32) % 2, np.array(ids), np.array(ids) * 1_000_000,
                np.array(ids) * 10 + 1, np.array(ids), np.zeros(count, np.bool_), np.full(count, flags, np.uint8))


def write(folder: Path) -> None:
    writer = TruthWriter(folder, [("x.spot", TABLE.symbols), ("x.futures", TABLE.symbols)], {"seed": 1})
    writer.add(records_of(0, rows_of(5, 6, 7), 3, SENT, 99))
    writer.add(records_of(0, rows_of(5), 3, DOUBLED, 100))
    writer.add(records_of(1, rows_of(5), -1, NO_SUBSCRIBER, 101))
    writer.add(records_of(1, rows_of(8, flags=VOID), 4, SENT, 102))
    writer.event("up", venue="x.spot", connection=3)
    writer.close()


def test_trades_are_the_sent_ones_once_without_void_rows(tmp_path: Path) -> None:
    write(tmp_path)
    truth = load_truth(tmp_path)
    assert len(truth.records) == 6
    assert truth.keys(truth.trades()) == {("x.spot", "AUSDT", 5), ("x.spot", "BUSDT", 6), ("x.spot", "AUSDT", 7)}
    assert truth.trades()["price"].tolist() == [0.051, 0.061, 0.071]
    assert len(truth.trades("x.futures")) == 0
    assert truth.events[0]["connection"] == 3


def test_the_part_of_one_venue_is_a_ground_truth_by_itself(tmp_path: Path) -> None:
    write(tmp_path)
    whole = load_truth(tmp_path)
    part = whole.only("x.futures")
    assert (part.venues, part.symbols) == (["x.futures"], [TABLE.symbols]) and len(part.records) == 2
    assert part.keys(part.trades(made=True)) == whole.keys(whole.trades("x.futures", made=True)) == {("x.futures", "AUSDT", 5)}


def test_a_record_cut_off_at_the_end_is_left_out(tmp_path: Path) -> None:
    write(tmp_path)
    file = tmp_path / truth_module.TRADES
    file.write_bytes(file.read_bytes()[:-7])
    assert len(load_truth(tmp_path).records) == 5


def test_a_folder_without_truth_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=str(tmp_path)):
        load_truth(tmp_path)


def test_an_id_in_text_is_known_by_the_number_it_ends_in() -> None:
    assert [id_number(text) for text in ("9f418363-6eb4-598e-9176-000000000017", "x-8371e2c496cc", "sell|1.5")] == [
        17, 0x8371e2c496cc, -1]


def test_an_event_keeps_any_line_separator_of_its_text(tmp_path: Path) -> None:
    writer = TruthWriter(tmp_path, [("x.spot", ["AUSDT"])], {})
    writer.event("published", title="a\u2028b\x85c")
    writer.close()
    assert load_truth(tmp_path).events[0]["title"] == "a\u2028b\x85c"
