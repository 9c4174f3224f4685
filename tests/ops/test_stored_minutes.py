"""The stored trades of some time: read again, or from the ledger of minutes, or both; and those gone since they were counted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pumpwatch.model import IdKind
from pumpwatch.ops.stored_minutes import Store, StoredMinutes, before, less
from pumpwatch.store.id_runs import IdRuns, missing_between
from pumpwatch.store.minutes import minutes_of
from tests.ops.data_folder import damage
from tests.ops.minute_folder import FIRST, START_NS, SYMBOLS, MinuteFolder, trades
from tests.ops.shelves import WHOLE


@pytest.fixture
def data(tmp_path: Path) -> MinuteFolder:
    data = MinuteFolder(tmp_path)
    data.store(*(trades(symbol, range(60 * minute, 60 * minute + 60)) for minute in range(3) for symbol in SYMBOLS))
    return data


def read(data: MinuteFolder, first: int = 0, end: int = 3, quick: bool = False, marks: dict[str, int] | None = None,
         ) -> StoredMinutes:
    return Store(data.folder, lambda venue: IdKind.CONTIGUOUS, marks).read(FIRST + first, FIRST + end, quick)


def test_only_the_minutes_asked_for_are_returned_and_the_ids_around_them(data: MinuteFolder) -> None:
    stored = read(data, 1, 2)
    assert stored.minutes.trades.tolist() == [60, 60] and set(stored.minutes.minute.tolist()) == {FIRST + 1}
    assert stored.runs.first.tolist() == [1000, 1000] and stored.runs.last.tolist() == [1179, 1179]


def test_read_again_and_counted_before_are_the_same(data: MinuteFolder) -> None:
    before = read(data)
    data.count()
    for quick in (False, True):
        found = read(data, quick=quick)
        assert found.minutes.checksum.tolist() == before.minutes.checksum.tolist()
        assert found.minutes.trades.tolist() == [60] * 6 and len(found.lost) == 0


def test_what_is_not_acknowledged_need_not_be_in_a_sink(data: MinuteFolder) -> None:
    waiting = read(data, marks={"shelf": 4, "other": 6}).waiting
    assert len(waiting["shelf"]) == 2 and len(waiting["other"]) == 0


def test_the_trades_read_are_reported_as_progress(data: MinuteFolder) -> None:
    seen: list[tuple[int, int]] = []
    Store(data.folder, lambda venue: IdKind.NONE).read(FIRST, FIRST + 3, progress=lambda done, total: seen.append((done, total)))
    assert seen[0] == (0, 360) and seen[-1] == (360, 360) and seen == sorted(seen)


def test_damaged_batches_are_left_out(data: MinuteFolder) -> None:
    data.store(*(trades("AUSDT", range(10_000 + 3000 * part, 13_000 + 3000 * part)) for part in range(4)))
    damage(data.folder)
    assert int(read(data, 0, 400).minutes.trades.sum()) < 12_360


def test_a_trade_that_is_stored_twice_is_counted_once_where_that_matters(data: MinuteFolder) -> None:
    data.store(trades("AUSDT", [3, 4]))
    store = Store(data.folder, lambda venue: IdKind.CONTIGUOUS)
    number = store.catalogue.ids_of(("alpha", "spot"))["AUSDT"]
    assert int(store.read(FIRST, FIRST + 1).minutes.trades[0]) == 62
    assert int(store.distinct(number, FIRST).trades[0]) == 60
    assert len(store.distinct(number, START_NS // 60_000_000_000 - 100)) == 0, "the journal does not reach back so far"


def test_less_names_what_is_gone_and_what_is_another() -> None:
    recorded = minutes_of(WHOLE)
    assert len(less(recorded, recorded)) == 0
    fewer = minutes_of(WHOLE.take(np.arange(5, 360)))
    assert [(row.tolist()) for row in (less(fewer, recorded).minute - FIRST, less(fewer, recorded).trades)] == [[0], [5]]
    other = minutes_of(replace(WHOLE, price=np.where(np.arange(360) == 70, 9.0, WHOLE.price)))
    assert less(other, recorded).trades.tolist() == [0] and len(less(recorded, fewer)) == 0
    assert less(minutes_of(WHOLE.take(slice(0, 0))), recorded).trades.sum() == 360


def test_recorded_ids_end_where_those_that_were_read_begin() -> None:
    def runs(*bounds: tuple[int, int, int]) -> IdRuns:
        instrument, first, last = np.array(bounds, np.int64).reshape(-1, 3).T
        return IdRuns(instrument.astype(np.int32), first, last, first * 10, last * 10)

    recorded = runs((0, 1, 50), (0, 52, 100), (1, 1, 100), (2, 1, 100))
    cut = before(recorded, runs((0, 70, 80), (0, 90, 95), (1, 1, 40)))
    assert list(zip(cut.instrument.tolist(), cut.first.tolist(), cut.last.tolist(), cut.last_ns.tolist(), strict=True)) == [
        (0, 1, 50, 500), (0, 52, 69, 700), (2, 1, 100, 1000)]
    assert len(before(recorded, IdRuns.empty())) == 4


def test_a_hole_is_found_though_the_ledger_of_minutes_has_counted_its_ids(data: MinuteFolder) -> None:
    data.count()
    data.delete("id = 3")
    assert [(gap.first, gap.last) for gap in missing_between(read(data).runs)] == [(1060, 1119)]
