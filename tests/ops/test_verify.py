"""Verifying a real journal, and sinks against it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import FakeClock
from pumpwatch.errors import ServiceUnavailable, StorageError
from pumpwatch.hookspecs import Keeping, Sink, WriteResult
from pumpwatch.model import TradeBatch
from pumpwatch.ops.verify import CheckedSegment, verify
from pumpwatch.stats import Stats
from pumpwatch.store.journal import Journal
from tests.ops.data_folder import damage, everything
from tests.trades import batch_of, catalogue_of


class Shelf(Sink):
    """A sink that has these trades, but for the first `lost` ones."""

    def __init__(self, kept: TradeBatch, lost: int = 0, away: bool = False) -> None:
        self._kept, self._away = kept.take(slice(lost, None)), away

    def read(self, names: Sequence[tuple[str, str, str]], start_ns: int, end_ns: int, catalogue: Catalogue) -> TradeBatch:
        if self._away:
            raise ServiceUnavailable("the shelf is away")
        inside = (self._kept.timestamp >= start_ns) & (self._kept.timestamp < end_ns)
        ids = [catalogue.ids_of(name[:2])[name[2]] for name in names]
        return self._kept.take(inside & np.isin(self._kept.instrument, ids))

    def write(self, batch: TradeBatch, catalogue: Catalogue) -> WriteResult:
        raise AssertionError("nothing writes here")


class SlowShelf(Shelf):
    """A sink that shows a part of its trades a moment later."""

    asked = 0

    def read(self, names: Sequence[tuple[str, str, str]], start_ns: int, end_ns: int, catalogue: Catalogue) -> TradeBatch:
        self.asked += 1
        found = super().read(names, start_ns, end_ns, catalogue)
        return found.take(slice(5, None)) if self.asked == 1 else found


class ForgettingShelf(Shelf):
    """A sink that deletes trades older than a day."""

    def keeping(self) -> Keeping:
        return Keeping(keeps_s=86_400.0)


def of(checked: list[CheckedSegment], where: str) -> list[CheckedSegment]:
    return [result for result in checked if result.where == where]


def test_a_whole_journal_is_good_to_the_trade(stored: Path) -> None:
    checked = list(verify(stored))
    assert len(checked) == 2
    assert all(result.good for result in checked)
    assert sum(result.found for result in checked) == 10_000


def test_damage_is_found_and_counted(stored: Path) -> None:
    damage(stored)
    checked = list(verify(stored))
    assert not checked[0].good
    assert checked[0].problems
    assert "pumpwatch restore" in checked[0].hint
    assert (checked[1].good, checked[1].hint) == (True, "")


def test_a_sink_that_has_everything_is_good(stored: Path) -> None:
    checked = list(verify(stored, {"shelf": Shelf(everything(stored))}))
    assert all(result.good for result in checked)
    assert sum(result.found for result in of(checked, "shelf")) == 10_000


def test_a_sink_that_lost_three_trades_is_named_with_the_first(stored: Path) -> None:
    checked = of(list(verify(stored, {"shelf": Shelf(everything(stored), lost=3)})), "shelf")
    assert not all(result.good for result in checked)
    assert sum(result.expected - result.found for result in checked) == 3
    assert "3 trades are missing" in checked[0].problems[0]
    assert "sends again" in checked[0].hint


def test_a_sink_that_does_not_answer_is_a_problem_and_not_a_crash(stored: Path) -> None:
    checked = of(list(verify(stored, {"shelf": Shelf(TradeBatch.empty(), away=True)})), "shelf")
    assert all(result.problems == ["the shelf is away"] for result in checked)


def test_what_a_sink_shows_a_little_later_is_not_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pumpwatch.ops.verify.RETRY_S", 0.001)
    journal = Journal(tmp_path, catalogue_of(), FakeClock(), Stats())
    journal.open()
    fresh = batch_of(1000)
    journal.acknowledge("shelf", journal.commit(fresh))
    journal.close()
    assert all(result.good for result in verify(tmp_path, {"shelf": SlowShelf(fresh)}))


def test_what_a_sink_deletes_at_its_age_is_not_missed(tmp_path: Path) -> None:
    clock = FakeClock(time.time_ns())
    journal = Journal(tmp_path, catalogue_of(), clock, Stats())
    journal.open()
    journal.commit(batch_of(1000, start_ns=clock.now_ns() - 100_000 * 10**9))
    kept = batch_of(1000, first_id=5000, start_ns=clock.now_ns() - 10 * 10**9)
    journal.acknowledge("shelf", journal.commit(kept))
    journal.close()
    checked = of(list(verify(tmp_path, {"shelf": ForgettingShelf(kept)})), "shelf")
    assert [(result.expected, result.found, result.problems) for result in checked] == [(1000, 1000, [])]
    checked = of(list(verify(tmp_path, {"shelf": Shelf(kept)})), "shelf")
    assert [(result.expected, result.found) for result in checked] == [(2000, 1000)]


def test_a_stray_trade_does_not_have_all_between_it_and_the_rest_fetched(tmp_path: Path) -> None:
    asked: list[int] = []

    class Watched(Shelf):
        def read(self, names: Sequence[tuple[str, str, str]], start_ns: int, end_ns: int, catalogue: Catalogue) -> TradeBatch:
            asked.append(end_ns - start_ns)
            return super().read(names, start_ns, end_ns, catalogue)

    journal = Journal(tmp_path, catalogue_of(), FakeClock(), Stats())
    journal.open()
    batch = TradeBatch.concat([batch_of(1, first_id=9, start_ns=10**18), batch_of(1000, first_id=10, start_ns=2 * 10**18)])
    journal.acknowledge("shelf", journal.commit(batch))
    journal.close()
    assert all(result.good for result in verify(tmp_path, {"shelf": Watched(batch)}))
    assert max(asked) < 10**9


def test_what_a_sink_never_acknowledged_is_not_missed(stored: Path) -> None:
    checked = of(list(verify(stored, {"newcomer": Shelf(TradeBatch.empty())})), "newcomer")
    assert all(result.good for result in checked)


def test_a_folder_without_a_journal_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no journal"):
        list(verify(tmp_path))
