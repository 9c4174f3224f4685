"""Slices of stored trades in memory: the same trades as the file has, whatever is asked, and however it grows."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from pumpwatch.clock import NS_PER_S, FakeClock
from pumpwatch.model import TradeBatch
from pumpwatch.stats import Stats
from pumpwatch.store import slice_cache
from pumpwatch.store.journal import Journal
from pumpwatch.store.reader import SegmentReader
from pumpwatch.store.segment import Segment
from pumpwatch.store.slice_cache import LONGEST_NS, SLICE_NS, SliceCache
from tests.store.small_journal import START_NS
from tests.trades import batch_of, catalogue_of

MINUTE_NS = 60 * NS_PER_S


class Case:
    """A journal that grows in one file, and the cache."""

    def __init__(self, folder: Path) -> None:
        self.catalogue, self.clock = catalogue_of(), FakeClock(START_NS)
        self.journal = Journal(folder, self.catalogue, self.clock, Stats())
        self.journal.open()
        self.cache, self.opened, self.committed = SliceCache(), 0, 0

    def commit(self, start_ns: int, rows: int = 20, step_ns: int = NS_PER_S) -> None:
        self.journal.commit(batch_of(rows, first_id=1 + self.committed, start_ns=start_ns, step_ns=step_ns, seed=self.committed))
        self.committed += rows

    @property
    def segment(self) -> Segment:
        return self.journal.readable_segments()[-1]

    def find(self, number: int, start_ns: int, end_ns: int) -> TradeBatch | None:
        readers: list[SegmentReader] = []

        def reader() -> SegmentReader:
            if not readers:
                self.opened += 1
                readers.append(SegmentReader(self.segment.path, self.catalogue, self._damage, own_run=True))
            return readers[0]

        found = self.cache.find(self.segment, number, start_ns, end_ns, reader)
        for used in readers:
            used.close()
        return found

    def _damage(self, path: Path, batch_id: int, why: str) -> None:
        raise AssertionError(why)

    def check(self, number: int, start_ns: int, end_ns: int) -> None:
        found = self.find(number, start_ns, end_ns)
        expected = self.journal.query(self.catalogue.names([number]), start_ns, end_ns)
        assert found is not None
        found = found.take(found.timestamp.argsort(kind="stable"))
        for column, wanted in zip(found.columns()[:-1], expected.columns()[:-1], strict=True):
            assert column is not None and wanted is not None and column.tolist() == wanted.tolist()


def test_it_has_what_the_file_has_while_the_file_grows_and_late_trades_come(tmp_path: Path) -> None:
    case, draw = Case(tmp_path), random.Random(5)
    for _ in range(60):
        case.commit(START_NS + draw.randrange(0, 5 * MINUTE_NS), rows=draw.randrange(1, 90))
        for _ in range(3):
            start_ns = START_NS + draw.randrange(-MINUTE_NS, 6 * MINUTE_NS)
            case.check(draw.randrange(8), start_ns, start_ns + draw.randrange(0, LONGEST_NS))
    case.journal.close()


def test_the_file_is_opened_only_for_what_is_new(tmp_path: Path) -> None:
    case = Case(tmp_path)
    case.commit(START_NS, rows=60)
    case.check(0, START_NS, START_NS + MINUTE_NS)
    for number in range(8):
        case.check(number, START_NS, START_NS + MINUTE_NS)
    assert case.opened == 1
    case.commit(START_NS + 30 * NS_PER_S)
    case.check(3, START_NS, START_NS + MINUTE_NS)
    assert case.opened == 2
    case.journal.close()


def test_long_times_and_crowded_slices_are_left_to_the_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(tmp_path)
    case.commit(START_NS, rows=60)
    assert case.find(0, START_NS, START_NS + LONGEST_NS + 1) is None
    monkeypatch.setattr(slice_cache, "LARGEST_TRADES", 60)
    case.check(0, START_NS + SLICE_NS, START_NS + 2 * SLICE_NS - NS_PER_S)
    monkeypatch.setattr(slice_cache, "LARGEST_TRADES", 10)
    case.commit(START_NS, rows=30)
    assert case.find(0, START_NS, START_NS + SLICE_NS) is None
    case.journal.close()


def test_the_slices_used_last_are_kept_within_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slice_cache, "KEPT_TRADES", 40)
    case = Case(tmp_path)
    case.commit(START_NS - START_NS % SLICE_NS, rows=150)
    for place in range(10):
        case.check(0, START_NS + place * SLICE_NS, START_NS + (place + 1) * SLICE_NS)
        assert 0 < case.cache._trades <= 40
        assert case.cache._trades == sum(kept.trades for kept in case.cache._slices.values())
    case.cache.forget({case.segment.path})
    assert case.cache._slices
    case.cache.forget(set())
    assert not case.cache._slices and case.cache._trades == 0
    case.journal.close()
