"""Look-ups beside the journal's thread: they see what is durable, hold no file, and leave damage to the journal."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from gevent.threadpool import ThreadPool

from pumpwatch.clock import NS_PER_S, FakeClock
from pumpwatch.model import TradeBatch
from pumpwatch.stats import Stats
from pumpwatch.store.journal import Journal
from pumpwatch.store.side_reader import SideReader
from tests.store.small_journal import NAMES, START_NS, files, small_journal
from tests.trades import batch_of, catalogue_of


def opened(folder: Path, clock: FakeClock | None = None) -> tuple[Journal, FakeClock]:
    clock = clock or FakeClock(START_NS)
    journal = Journal(folder, catalogue_of(), clock, Stats())
    journal.open()
    return journal, clock


def rows_of(batch: TradeBatch | None) -> list[tuple[int, int, int]] | None:
    if batch is None:
        return None
    return list(zip(batch.timestamp.tolist(), batch.instrument.tolist(), batch.trade_id.tolist(), strict=True))


def counted(reader: SideReader, start_ns: int = 0, end_ns: int = 2**62) -> int | None:
    """Return how many trades of all instruments are found, None where the journal has to be asked."""
    found = [reader.query(name, start_ns, end_ns) for name in NAMES]
    return sum(len(batch) for batch in found if batch is not None) if None not in found else None


def same(reader: SideReader, journal: Journal, start_ns: int, end_ns: int) -> bool:
    return all(rows_of(reader.query(name, start_ns, end_ns)) == rows_of(journal.query([name], start_ns, end_ns))
               for name in NAMES)


def test_another_thread_sees_every_commit_at_once_over_all_segments(tmp_path: Path) -> None:
    small_journal(tmp_path, segments=2)  # of an earlier run, with numbers of its own
    journal, clock = opened(tmp_path, FakeClock(START_NS + 10 * 3600 * 10**9))
    reader, thread = journal.side_reader(), ThreadPool(1)
    for number in range(3):
        journal.commit(batch_of(40, first_id=1000 * (number + 1), start_ns=clock.now_ns(), seed=number))
        assert thread.apply(counted, (reader,)) == 100 + 40 * (number + 1)
        assert thread.apply(same, (reader, journal, 0, 2**62))
        clock.advance(3600)
    assert same(reader, journal, START_NS, clock.now_ns())
    journal.close()
    reader.close()


def test_the_written_file_is_closed_as_one_plain_file_after_a_look_up(tmp_path: Path) -> None:
    journal, clock = opened(tmp_path)
    journal.commit(batch_of(40, first_id=1, start_ns=clock.now_ns()))
    reader = journal.side_reader()
    assert counted(reader) == counted(reader, clock.now_ns(), clock.now_ns() + NS_PER_S) == 40
    journal.close()
    assert [path.name for path in (tmp_path / "journal").iterdir()] == [path.name for path in files(tmp_path)]


def test_a_file_that_expired_is_let_go(tmp_path: Path) -> None:
    paths = small_journal(tmp_path, segments=3)
    journal, _ = opened(tmp_path, FakeClock(START_NS + 100 * 3600 * 10**9))
    reader = journal.side_reader()
    assert counted(reader) == 150 and paths[0] in reader._open
    removed = journal.expire(START_NS + 3600 * 10**9 + 1, 2**62, [])
    assert removed and removed[0].path == paths[0]
    assert counted(reader) == 150 - 50 * len(removed) and paths[0] not in reader._open
    journal.close()
    reader.close()


def test_damage_is_left_to_the_journal_and_the_rest_is_read_once_it_is_known(tmp_path: Path) -> None:
    paths = small_journal(tmp_path)
    journal, _ = opened(tmp_path, FakeClock(START_NS + 100 * 3600 * 10**9))
    reader = journal.side_reader()
    paths[1].write_bytes(b"no database")
    assert counted(reader) is None
    assert len(journal.query(NAMES, 0, 2**62)) == 100  # it records the gap
    assert counted(reader) == 100
    journal.close()
    reader.close()


@pytest.mark.parametrize("by_slices", [True, False])
def test_the_journal_is_asked_once_for_a_damaged_batch(tmp_path: Path, by_slices: bool) -> None:
    journal, clock = opened(tmp_path)
    for number in range(3):
        journal.commit(batch_of(40, first_id=1 + 40 * number, start_ns=START_NS + number * NS_PER_S, seed=number))
    times = (START_NS, START_NS + 60 * NS_PER_S) if by_slices else (0, 2**62)
    journal.close()
    connection = sqlite3.connect(files(tmp_path)[0])
    connection.execute("UPDATE batches SET body = x'00' WHERE id = 2")
    connection.commit()
    connection.close()
    journal, _ = opened(tmp_path, clock)
    reader = journal.side_reader()
    assert reader.query(NAMES[0], *times) is None
    assert len(journal.query(NAMES[:1], *times)) > 0  # it records the damage
    assert counted(reader, *times) == 80 and same(reader, journal, *times)
    journal.commit(batch_of(40, first_id=500, start_ns=START_NS + 5 * NS_PER_S, seed=9))
    assert counted(reader, *times) == 120 and same(reader, journal, *times)
    assert bool(reader._cache._slices) is by_slices
    journal.close()
    reader.close()


def test_a_file_whose_time_index_cannot_be_read_is_read_without_it(tmp_path: Path) -> None:
    (path,) = small_journal(tmp_path, segments=1)
    connection = sqlite3.connect(path)
    page, = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'batches_time'").fetchone()
    size, = connection.execute("PRAGMA page_size").fetchone()
    connection.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
    journal, _ = opened(tmp_path, FakeClock(START_NS + 3600 * NS_PER_S))
    reader = journal.side_reader()
    assert counted(reader) == counted(reader, START_NS, START_NS + 60 * NS_PER_S) == 50
    assert reader._without_index == {path}
    journal.close()
    reader.close()
