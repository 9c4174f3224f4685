"""Look-ups beside the journal's thread: they see what is durable, hold no file, and leave damage to the journal."""

from __future__ import annotations

from pathlib import Path

from gevent.threadpool import ThreadPool

from pumpwatch.clock import FakeClock
from pumpwatch.stats import Stats
from pumpwatch.store.journal import Journal
from tests.store.small_journal import NAMES, START_NS, files, small_journal
from tests.trades import batch_of, catalogue_of


def opened(folder: Path, clock: FakeClock | None = None) -> tuple[Journal, FakeClock]:
    clock = clock or FakeClock(START_NS)
    journal = Journal(folder, catalogue_of(), clock, Stats())
    journal.open()
    return journal, clock


def same(left, right) -> bool:
    return left is not None and left.trade_id.tolist() == right.trade_id.tolist() and \
        left.instrument.tolist() == right.instrument.tolist()


def test_another_thread_sees_every_commit_at_once_over_all_segments(tmp_path: Path) -> None:
    small_journal(tmp_path, segments=2)  # of an earlier run, with numbers of its own
    journal, clock = opened(tmp_path, FakeClock(START_NS + 10 * 3600 * 10**9))
    reader, thread = journal.side_reader(), ThreadPool(1)
    for number in range(3):
        journal.commit(batch_of(40, first_id=1000 * (number + 1), start_ns=clock.now_ns(), seed=number))
        found = thread.apply(reader.query, (NAMES, 0, 2**62))
        assert same(found, journal.query(NAMES, 0, 2**62)) and len(found) == 100 + 40 * (number + 1)
        clock.advance(3600)
    assert same(reader.query(NAMES[:1], START_NS, clock.now_ns()), journal.query(NAMES[:1], START_NS, clock.now_ns()))
    journal.close()
    reader.close()


def test_the_written_file_is_closed_as_one_plain_file_after_a_look_up(tmp_path: Path) -> None:
    journal, clock = opened(tmp_path)
    journal.commit(batch_of(40, first_id=1, start_ns=clock.now_ns()))
    reader = journal.side_reader()
    assert reader.query(NAMES, 0, 2**62) is not None
    journal.close()
    assert [path.name for path in (tmp_path / "journal").iterdir()] == [path.name for path in files(tmp_path)]


def test_a_file_that_expired_is_let_go(tmp_path: Path) -> None:
    paths = small_journal(tmp_path, segments=3)
    journal, _ = opened(tmp_path, FakeClock(START_NS + 100 * 3600 * 10**9))
    reader = journal.side_reader()
    assert len(reader.query(NAMES, 0, 2**62) or ()) == 150 and paths[0] in reader._open
    removed = journal.expire(START_NS + 3600 * 10**9 + 1, 2**62, [])
    assert removed and removed[0].path == paths[0]
    assert len(reader.query(NAMES, 0, 2**62) or ()) == 150 - 50 * len(removed) and paths[0] not in reader._open
    journal.close()
    reader.close()


def test_damage_is_left_to_the_journal_and_the_rest_is_read_once_it_is_known(tmp_path: Path) -> None:
    paths = small_journal(tmp_path)
    journal, _ = opened(tmp_path, FakeClock(START_NS + 100 * 3600 * 10**9))
    reader = journal.side_reader()
    paths[1].write_bytes(b"no database")
    assert reader.query(NAMES, 0, 2**62) is None
    assert len(journal.query(NAMES, 0, 2**62)) == 100  # it records the gap
    assert len(reader.query(NAMES, 0, 2**62) or ()) == 100
    journal.close()
    reader.close()
