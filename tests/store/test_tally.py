"""Counting a journal into the ledger of minutes: each batch once, over restarts, rolls, damage and another journal."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_S, FakeClock
from pumpwatch.errors import StorageError
from pumpwatch.model import IdKind
from pumpwatch.stats import Stats
from pumpwatch.store import tally as module
from pumpwatch.store.coverage import FILE_NAME, CoverageFile, Venue
from pumpwatch.store.id_runs import missing_between
from pumpwatch.store.journal import Journal
from pumpwatch.store.sqlite import connect
from pumpwatch.store.tally import Tally
from tests.ops.data_folder import damage
from tests.trades import batch_of, catalogue_of

START_NS = 1_795_000_000 * NS_PER_S


def contiguous(venue: Venue) -> IdKind:
    return IdKind.CONTIGUOUS


def opened(folder: Path, clock: FakeClock | None = None) -> Journal:
    journal = Journal(folder, catalogue_of(), clock or FakeClock(START_NS), Stats())
    journal.open()
    return journal


def tally_of(folder: Path, journal: Journal) -> Tally:
    return Tally(folder, journal.readable_segments, contiguous, FakeClock(START_NS))


def all_of(tally: Tally) -> None:
    while tally.step():
        pass


def stored(folder: Path) -> int:
    return int(CoverageFile(folder, read_only=True).read(0, 2**62, Catalogue()).minutes.trades.sum())


def test_each_trade_is_counted_once_over_rolls_and_restarts(tmp_path: Path) -> None:
    clock, count = FakeClock(START_NS), 0
    for run in range(3):
        journal = opened(tmp_path, clock)
        tally = tally_of(tmp_path, journal)
        for part in range(4):
            journal.commit(batch_of(300, first_id=1 + 10_000 * run + 300 * part, start_ns=clock.now_ns()))
            count += 300
            clock.advance(1800)
            if part % 2:
                all_of(tally)
                assert stored(tmp_path) == count
        tally.close()
        journal.close()
    assert tally.counted_upto == CoverageFile(tmp_path, read_only=True).counted_upto == 12


def test_much_at_once_is_counted_in_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STEP_ROWS", 500)
    journal = opened(tmp_path)
    for part in range(4):
        journal.commit(batch_of(400, first_id=1 + 400 * part, start_ns=START_NS))
    tally = tally_of(tmp_path, journal)
    assert tally.step() and stored(tmp_path) == 800 and tally.file().counted_at_ns == 0
    all_of(tally)
    assert stored(tmp_path) == 1600 and tally.file().counted_at_ns == START_NS
    journal.close()


def test_late_trades_are_added_to_their_own_minute(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    tally = tally_of(tmp_path, journal)
    journal.commit(batch_of(100, start_ns=START_NS))
    all_of(tally)
    journal.commit(batch_of(50, first_id=500, start_ns=START_NS - 7200 * NS_PER_S))
    all_of(tally)
    found = tally.file().read(START_NS - 7200 * NS_PER_S, START_NS - 7100 * NS_PER_S, Catalogue())
    assert int(found.minutes.trades.sum()) == 50
    journal.close()


def test_ids_that_rows_without_a_trade_used_up_leave_no_hole(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    batch = batch_of(100, instruments=1, start_ns=START_NS)
    journal.pass_over([(0, 51, int(batch.timestamp[50])), (0, 52, int(batch.timestamp[51]))])
    keep = [row for row in range(100) if row not in (50, 51, 70)]
    journal.commit(batch.take([*keep]))
    tally = tally_of(tmp_path, journal)
    all_of(tally)
    found = missing_between(tally.file().read(0, 2**62, Catalogue()).runs)
    assert [(gap.first, gap.last) for gap in found] == [(71, 71)]
    journal.close()


def test_damaged_batches_are_passed_over(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    for part in range(10):
        journal.commit(batch_of(1000, first_id=1 + 1000 * part, start_ns=START_NS))
    journal.close()
    damage(tmp_path)
    journal = opened(tmp_path)
    tally = tally_of(tmp_path, journal)
    all_of(tally)
    assert 0 < stored(tmp_path) < 10_000 and tally.counted_upto == 10
    journal.close()


def test_a_damaged_ledger_of_minutes_is_rebuilt_from_the_journal(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.commit(batch_of(100, start_ns=START_NS))
    tally = tally_of(tmp_path, journal)
    all_of(tally)
    connection = connect(tmp_path / FILE_NAME)
    connection.execute("UPDATE hours SET counts = x'00'")
    connection.close()
    journal.commit(batch_of(100, first_id=101, start_ns=START_NS))
    all_of(tally)
    assert stored(tmp_path) == 200
    assert len(list(tmp_path.glob(f"{FILE_NAME}.damaged-*"))) == 1
    journal.close()


def test_another_journal_in_the_folder_is_counted_from_its_beginning(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    for part in range(5):
        journal.commit(batch_of(100, first_id=1 + 100 * part, start_ns=START_NS))
    tally = tally_of(tmp_path, journal)
    all_of(tally)
    journal.close()
    shutil.rmtree(tmp_path / "journal")
    (tmp_path / "segments.json").unlink()
    journal = opened(tmp_path)
    journal.commit(batch_of(70, start_ns=START_NS))
    tally = tally_of(tmp_path, journal)
    all_of(tally)
    assert stored(tmp_path) == 70
    journal.close()


def test_a_journal_whose_files_are_gone_forgets_no_figures(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.commit(batch_of(100, start_ns=START_NS))
    all_of(tally_of(tmp_path, journal))
    journal.close()
    shutil.rmtree(tmp_path / "journal")  # the list of segments stays, so that the ids go on
    journal = opened(tmp_path)
    tally = tally_of(tmp_path, journal)
    all_of(tally)
    assert stored(tmp_path) == 100
    journal.commit(batch_of(70, first_id=101, start_ns=START_NS))
    all_of(tally)
    assert stored(tmp_path) == 170
    journal.close()


def test_a_locked_file_is_counted_when_it_is_not_locked_any_more(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.commit(batch_of(100, start_ns=START_NS))
    tally = tally_of(tmp_path, journal)
    segment = journal.readable_segments()[0]
    segment.locked = True
    assert not tally.step() and tally.counted_upto == 0
    segment.locked = False
    all_of(tally)
    assert tally.counted_upto == 1
    journal.close()


def test_a_full_disk_is_an_error_and_the_next_step_continues(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.commit(batch_of(100, start_ns=START_NS))
    tally = tally_of(tmp_path, journal)
    tally.file()
    lock = connect(tmp_path / FILE_NAME)
    lock.execute("BEGIN IMMEDIATE")
    tally.file()._connection.execute("PRAGMA busy_timeout=1")  # type: ignore[union-attr]
    with pytest.raises(StorageError, match="locked"):
        tally.step()
    lock.execute("ROLLBACK")
    lock.close()
    all_of(tally)
    assert stored(tmp_path) == 100
    journal.close()
