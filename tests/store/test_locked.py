"""A segment that another process only locks is neither damaged nor passed over: it is read when the lock is gone."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_S, FakeClock
from pumpwatch.errors import StorageError
from pumpwatch.model import Instrument
from pumpwatch.stats import Stats
from pumpwatch.store.journal import Journal, JournalReader, Recovery
from pumpwatch.store.manifest import FILE
from tests.trades import VENUES, batch_of, catalogue_of

START_NS = 1_790_000_000 * NS_PER_S
HOURS, ROWS = 3, 50
NAMES = [(*venue, f"C{number}USDT") for number in range(4) for venue in VENUES]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three closed segments of 50 trades, ids 1 to 150, the sink at batch 1."""
    folder, clock = tmp_path_factory.mktemp("kept"), FakeClock(START_NS)
    journal = Journal(folder, catalogue_of(), clock, Stats())
    journal.open()
    for number in range(HOURS):
        journal.commit(batch_of(ROWS, first_id=number * ROWS + 1, start_ns=clock.now_ns(), seed=number))
        clock.advance(3600)
    journal.acknowledge("sink", 1)
    journal.close()
    return folder


@pytest.fixture
def folder(kept: Path, tmp_path: Path) -> Path:
    shutil.copytree(kept, tmp_path / "data")
    return tmp_path / "data"


def segments(folder: Path) -> list[Path]:
    return sorted((folder / "journal").glob("*.sqlite"))


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Lock a file as a database browser does that is about to write."""
    other = sqlite3.connect(path, isolation_level=None)
    try:
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        yield
    finally:
        other.close()


def killed(folder: Path) -> Path:
    """Return a data folder with one segment of 50 trades as a kill leaves it."""
    journal = Journal(folder / "written", catalogue_of(), FakeClock(START_NS), Stats())
    journal.open()
    journal.commit(batch_of(ROWS, start_ns=START_NS))
    shutil.copytree(folder / "written", folder / "data")
    journal.close()
    return folder / "data"


def stored_last_ids(path: Path) -> list[tuple[int]]:
    """Return the batch up to which a file's last ids count, nothing where it has none."""
    connection = sqlite3.connect(path)
    try:
        return connection.execute("SELECT batch_id FROM last_ids").fetchall()
    finally:
        connection.close()


class Started:
    """A journal opened on a folder."""

    def __init__(self, folder: Path) -> None:
        self.catalogue = Catalogue()
        self.journal = Journal(folder, self.catalogue, FakeClock(START_NS + HOURS * 3600 * NS_PER_S), Stats())
        self.recovery: Recovery = self.journal.open()

    def commit(self, first_id: int) -> int:
        """Commit trades of one instrument."""
        self.catalogue.add_if_new(VENUES[0], Instrument(symbol="NEWUSDT", base="NEW", quote="USDT"))
        return self.journal.commit(batch_of(ROWS, first_id=first_id, instruments=1,
                                            start_ns=START_NS + HOURS * 3600 * NS_PER_S))

    def read(self, after: int = 0) -> list[int]:
        return sorted(int(number) for _, batch in self.journal.read_after(after, 10**9) for number in batch.trade_id)

    def found(self) -> int:
        return len(self.journal.query(NAMES, 0, 2**62))

    def unharmed(self) -> bool:
        return self.journal.unreadable == [] and self.journal.ledger.gaps() == []


@pytest.mark.parametrize("at", range(HOURS))
def test_a_segment_locked_after_the_start_is_an_error_for_readers_and_is_read_later(folder: Path, at: int) -> None:
    started = Started(folder)
    with locked(segments(folder)[at]):
        with pytest.raises(StorageError, match="locked"):
            started.found()
        read = started.read() if at else []
        assert read == list(range(1, at * ROWS + 1)), "what lies before it is read"
        with pytest.raises(StorageError, match="locked"):
            started.read(at)
    assert started.read() == list(range(1, HOURS * ROWS + 1)) and started.found() == HOURS * ROWS
    assert started.unharmed()
    started.journal.close()


@pytest.mark.parametrize("at", range(HOURS))
def test_a_segment_locked_at_the_start_does_not_stop_it_and_is_not_called_damaged(folder: Path, at: int) -> None:
    with locked(segments(folder)[at]):
        started = Started(folder)
        assert started.recovery.last_batch_id >= HOURS and started.unharmed()
        with pytest.raises(StorageError, match="locked"):
            started.read(at)
    assert started.read() == list(range(1, HOURS * ROWS + 1))
    assert started.unharmed()
    started.journal.close()
    assert Started(folder).unharmed()


@pytest.mark.parametrize("listed", [True, False])
def test_one_that_a_kill_left_open_and_that_is_locked_at_the_start_keeps_its_ids(tmp_path: Path, listed: bool) -> None:
    folder = killed(tmp_path)
    if not listed:
        (folder / FILE).unlink()
    with locked(segments(folder)[0]):
        started = Started(folder)
        assert started.unharmed()
        new = started.commit(ROWS + 1)
        assert new > 1
        with pytest.raises(StorageError, match="locked"):
            started.read()
    started.journal.maintain()
    assert len(started.catalogue) == 1 + 8, "its names are known again"
    assert started.read() == list(range(1, 2 * ROWS + 1)) and started.unharmed()
    started.journal.close()
    after = Started(folder)
    assert after.unharmed() and after.read() == list(range(1, 2 * ROWS + 1))
    after.journal.close()


def test_one_that_stays_locked_until_the_run_ends_leaves_no_hole_in_the_ids(tmp_path: Path) -> None:
    folder = killed(tmp_path)
    for number in range(1, 3):  # locked in two runs
        with locked(segments(folder)[0]):
            started = Started(folder)
            started.commit(ROWS * number + 1)
            started.journal.close()
    after = Started(folder)
    assert after.unharmed() and after.journal.whole_from_ns() == START_NS
    assert after.read() == list(range(1, 3 * ROWS + 1))
    after.journal.close()


def test_where_one_is_locked_the_last_ids_of_the_others_are_known(folder: Path) -> None:
    with locked(segments(folder)[-1]):
        started = Started(folder)
        assert max(number for number, _ in started.recovery.last_ids.values()) == 2 * ROWS
    started.journal.close()


@pytest.mark.parametrize("unlocked", ["while it runs", "after it"])
def test_the_last_ids_of_one_that_is_read_later_are_known_to_the_next_run(tmp_path: Path, unlocked: str) -> None:
    folder = killed(tmp_path)
    known = {name: last for name, last in Started(tmp_path / "written").recovery.last_ids.items() if last[0] > 1}
    with locked(segments(folder)[0]):
        started = Started(folder)
        started.commit(ROWS + 1)
        if unlocked == "after it":
            started.journal.close()
    if unlocked == "while it runs":
        started.journal.maintain()
        started.journal.close()
    after = Started(folder)
    assert after.recovery.last_ids.items() >= known.items()
    assert after.recovery.last_ids[*VENUES[0], "NEWUSDT"][0] == 2 * ROWS
    after.journal.close()


def test_the_last_ids_are_stored_again_once_the_lock_is_gone(tmp_path: Path) -> None:
    folder = killed(tmp_path)
    with locked(segments(folder)[0]):
        started = Started(folder)
        started.commit(ROWS + 1)
        assert stored_last_ids(segments(folder)[-1]) == []
    started.journal.maintain()
    started.journal.close()
    (last_ids,) = stored_last_ids(segments(folder)[-1])
    assert last_ids[0] == started.journal._last_id


@pytest.mark.parametrize(("at", "safe"), [(HOURS - 1, 1), (1, 3)])
def test_where_the_newest_one_is_locked_a_sink_starts_from_its_lowest_safe_mark(tmp_path: Path, at: int, safe: int) -> None:
    journal = Journal(tmp_path, catalogue_of(), clock := FakeClock(START_NS), Stats())
    journal.open()
    for number in range(HOURS):
        journal.acknowledge("sink", number + 1)
        journal.commit(batch_of(ROWS, start_ns=clock.now_ns(), seed=number))
        clock.advance(3600)
    journal.close()
    with locked(segments(tmp_path)[at]):
        started = Started(tmp_path)
        assert started.journal.watermarks.safe("sink") == safe
        assert started.journal.census().locked()
    started.journal.maintain()
    assert not started.journal.census().locked()
    started.journal.close()


def test_nothing_is_read_before_a_locked_one_whose_ids_are_a_guess(folder: Path) -> None:
    (folder / FILE).unlink()
    with locked(segments(folder)[1]):
        with locked(segments(folder)[0]):
            started = Started(folder)
        assert started.read() == list(range(1, ROWS + 1))
        with pytest.raises(StorageError, match="locked"):
            started.read(1)
    assert started.read(1) == list(range(ROWS + 1, HOURS * ROWS + 1)) and started.unharmed()
    started.journal.close()


def test_a_reader_from_outside_names_what_is_locked_and_gives_the_rest(folder: Path) -> None:
    reader = JournalReader(folder, catalogue_of())
    with locked(segments(folder)[1]):
        assert len(reader.query(NAMES, 0, 2**62)) == (HOURS - 1) * ROWS
    assert any("locked" in line for line in reader.unreadable)
