"""Committed trades survive kill -9, a full disk loses nothing, and damage costs only what is damaged."""

from __future__ import annotations

import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import Clock, FakeClock
from pumpwatch.errors import StorageError
from pumpwatch.model import GapState
from pumpwatch.stats import Stats
from pumpwatch.store.journal import Journal, JournalReader, Recovery
from tests.forked import ForkedModule
from tests.small_disk import fill, small_disk
from tests.trades import batch_of, catalogue_of

NAMES = [("binance", market, f"C{number}USDT") for number in range(4) for market in ("spot", "futures")]


def start_writer(folder: Path, *arguments: str) -> ForkedModule:
    process = ForkedModule("tests.store.journal_writer", str(folder), *arguments)
    assert process.stdout.readline().startswith("open")
    return process


def kill(process: ForkedModule) -> list[str]:
    """Kill without warning; return the lines that got out."""
    process.send_signal(signal.SIGKILL)
    lines = process.communicate().split("\n")
    return lines[:-1]  # what is after the last newline was cut


def stored(folder: Path) -> tuple[Recovery, list[int]]:
    """Open as the next run would; return what it finds and every trade id in the order stored."""
    journal = Journal(folder, Catalogue(), Clock(), Stats())
    recovery = journal.open()
    batches = journal.read_after(0, 10**9)
    assert [number for number, _ in batches] == sorted({number for number, _ in batches})
    journal.close()
    return recovery, [int(number) for _, batch in batches for number in batch.trade_id]


def test_after_kill_9_at_any_moment_every_returned_commit_is_there_once(tmp_path: Path) -> None:
    draw = random.Random(20)
    for _ in range(6):
        process = start_writer(tmp_path)
        time.sleep(draw.uniform(0.02, 0.4))
        lines = kill(process)
        returned = int(lines[-1]) if lines else 0
        recovery, ids = stored(tmp_path)
        assert recovery.unreadable == []
        assert sorted(ids) == list(range(1, len(ids) + 1)), "none is missing, none is twice"
        assert len(ids) >= returned
        assert max((number for number, _ in recovery.last_ids.values()), default=0) == len(ids)


def test_a_full_disk_refuses_commits_and_nothing_is_lost_when_there_is_room_again(tmp_path: Path) -> None:
    process = start_writer(tmp_path, "150000")
    lines: list[str] = []
    while sum(line.startswith("refused") for line in lines) < 5:
        lines.append(process.stdout.readline().strip())
    process.stdin.write("\n")
    process.stdin.flush()
    while not lines[-1].isdigit():
        lines.append(process.stdout.readline().strip())
    lines += [process.stdout.readline().strip() for _ in range(20)]
    lines += kill(process)
    returned = max(int(line) for line in lines if line.isdigit())
    _, ids = stored(tmp_path)
    assert sorted(ids) == list(range(1, len(ids) + 1))
    assert len(ids) >= returned


@pytest.fixture(name="disk")
def disk_of_3_mb(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MB, where this process may mount one."""
    with small_disk(tmp_path / "disk", 3) as problem:
        if problem:
            pytest.skip(f"no right to mount a small file system here: {problem}")
        yield tmp_path / "disk"


def refusal_of(action: Callable[[], object]) -> StorageError | None:
    """Do it; return how it was refused, None where it went well."""
    try:
        action()
    except StorageError as error:
        return error
    return None


def test_a_file_system_without_room_is_survived_at_every_step(disk: Path) -> None:
    clock = FakeClock()
    journal = Journal(disk, catalogue_of(), clock, Stats())
    journal.open()
    committed = 0
    for step in range(4):  # full before the first segment, in mid-segment, at the roll-over, and while closing
        ballast = fill(disk)
        refused = 0
        for _ in range(200):
            refusal = refusal_of(lambda: journal.commit(batch_of(300, first_id=committed)))  # noqa: B023
            if refusal is None:
                committed += 300
                continue
            assert any(words in refusal.message for words in ("full", "I/O", "No space"))
            assert refusal.hint
            refused += 1
            if refused == 3:
                break
        assert refused == 3
        if step == 2:
            clock.advance(3600)
            with pytest.raises(StorageError):
                journal.commit(batch_of(300, first_id=committed))
        ballast.unlink()
        clock.advance(11)
        journal.commit(batch_of(300, first_id=committed))
        committed += 300
    fill(disk)
    refusal_of(journal.close)
    (disk / "ballast").unlink()
    recovery, ids = stored(disk)
    assert sorted(ids) == list(range(committed))
    assert recovery.unreadable == []


def test_a_start_on_a_full_disk_reads_everything_or_asks_for_room_and_names_no_damage(disk: Path) -> None:
    process = start_writer(disk)
    lines = [process.stdout.readline().strip() for _ in range(20)] + kill(process)
    ballast = fill(disk)
    refusal = refusal_of(lambda: stored(disk))
    assert refusal is None or refusal.hint
    ballast.unlink()
    recovery, ids = stored(disk)
    assert recovery.unreadable == []
    assert sorted(ids) == list(range(1, len(ids) + 1))
    assert len(ids) >= int(lines[-1])


def test_a_file_that_was_being_made_when_the_process_died_is_no_damage(tmp_path: Path) -> None:
    (tmp_path / "journal").mkdir()
    for name in ("20261121T10-000.sqlite.new", "20261121T10-000.sqlite.new-journal"):
        (tmp_path / "journal" / name).write_bytes(b"half")
    recovery, ids = stored(tmp_path)
    assert (recovery.clean, recovery.unreadable, ids) == (True, [], [])
    assert list((tmp_path / "journal").iterdir()) == []


CUT_SHORT = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA journal_mode=DELETE")
connection.execute("PRAGMA cache_size=1")  # so that pages reach the file before the commit
connection.execute("BEGIN")
connection.executemany("INSERT INTO instruments (id, symbol) VALUES (?, ?)", ((10**6 + n, "x" * 500) for n in range(2000)))
os._exit(9)
"""


def test_a_write_that_a_kill_cut_short_outside_wal_mode_is_undone_and_is_no_damage(tmp_path: Path) -> None:
    catalogue = catalogue_of()
    journal = Journal(tmp_path, catalogue, Clock(), Stats())
    journal.open()
    journal.commit(batch_of(100))
    journal.close()
    (segment,) = (tmp_path / "journal").glob("*.sqlite")
    before = stored(tmp_path)[1]
    subprocess.run([sys.executable, "-c", CUT_SHORT, str(segment)], check=False)
    assert segment.with_name(f"{segment.name}-journal").stat().st_size > 0
    recovery, after = stored(tmp_path)
    assert after == before and recovery.unreadable == []


def test_a_refused_commit_leaves_no_trace_of_itself(tmp_path: Path) -> None:
    journal = Journal(tmp_path, catalogue_of(), FakeClock(), Stats())
    journal.open()
    journal.commit(batch_of(10, first_id=1))
    writer = journal._writer
    assert writer is not None
    pages = writer._connection.execute("PRAGMA page_count").fetchone()[0]
    writer._connection.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(StorageError, match="full"):
        journal.commit(batch_of(20_000, first_id=11))
    assert journal.backlog("questdb") == 10
    writer._connection.execute("PRAGMA max_page_count=1000000")
    journal.commit(batch_of(20_000, first_id=11))
    journal.close()
    assert sorted(stored(tmp_path)[1]) == list(range(1, 20_011))


@pytest.fixture(scope="module")
def left_by_a_crash(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as kill -9 leaves it: closed segments, and one with its write-ahead log."""
    folder = tmp_path_factory.mktemp("crashed")
    process = start_writer(folder)
    for _ in range(30):
        process.stdout.readline()
    kill(process)
    return folder


def damaged_copy(source: Path, target: Path, harm: Callable[[Path, bytearray], None],
                 pick: Callable[[list[Path]], Path]) -> Path:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    path = pick(sorted(path for path in (target / "journal").iterdir() if not path.name.endswith("-shm")))
    content = bytearray(path.read_bytes())
    harm(path, content)
    path.write_bytes(content)
    return path


def check_survival(folder: Path, whole: dict[int, list[int]], harmed: Path) -> None:
    """Open the damaged folder, and demand that what is missing is named, and nothing is made up."""
    journal = Journal(folder, Catalogue(), Clock(), Stats())
    journal.open()
    found = {number: sorted(batch.trade_id.tolist()) for number, batch in journal.read_after(0, 10**9)}
    JournalReader(folder, Catalogue()).query(NAMES, 0, 2**62)
    journal.query(NAMES, 0, 2**62)
    for number, ids in found.items():
        assert set(ids) <= set(whole[number])
    if found != whole:
        stem = harmed.name.partition(".")[0]
        named = any(note.startswith(stem) for note in journal.unreadable)
        tail = harmed.name.endswith("-wal") and max(found, default=0) < max(whole)  # a log cut off: a crash like any
        assert named or tail, (harmed, len(found), len(whole))
        if named:
            assert any("journal damaged" in gap.reason for _, gap in journal.ledger.gaps())
    last = max(found, default=0)
    new = journal.commit(batch_of(10, first_id=10**9))
    assert new > last
    assert journal.read_after(new - 1, 10)[0][0] == new
    journal.close()
    again = Journal(folder, Catalogue(), Clock(), Stats())
    assert again.open().last_batch_id >= new
    again.close()


@pytest.fixture(scope="module")
def whole(left_by_a_crash: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, list[int]]:
    copy = tmp_path_factory.mktemp("whole") / "data"
    shutil.copytree(left_by_a_crash, copy)
    journal = Journal(copy, Catalogue(), Clock(), Stats())
    journal.open()
    found = {number: sorted(batch.trade_id.tolist()) for number, batch in journal.read_after(0, 10**9)}
    journal.close()
    return found


@settings(max_examples=40)
@given(st.data())
def test_flipped_bytes_anywhere_are_survived_and_named(left_by_a_crash: Path, whole: dict[int, list[int]],
                                                       tmp_path_factory: pytest.TempPathFactory,
                                                       data: st.DataObject) -> None:
    draw = data.draw(st.randoms(use_true_random=False))

    def harm(path: Path, content: bytearray) -> None:
        for _ in range(draw.choice((1, 8, 200))):
            content[draw.randrange(len(content))] = draw.randrange(256)

    folder = tmp_path_factory.getbasetemp() / "flipped"
    check_survival(folder, whole, damaged_copy(left_by_a_crash, folder, harm, draw.choice))


@settings(max_examples=20)
@given(st.data())
def test_a_file_cut_short_is_survived_and_named(left_by_a_crash: Path, whole: dict[int, list[int]],
                                                tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    draw = data.draw(st.randoms(use_true_random=False))

    def harm(path: Path, content: bytearray) -> None:
        del content[draw.randrange(len(content)):]

    folder = tmp_path_factory.getbasetemp() / "cut"
    check_survival(folder, whole, damaged_copy(left_by_a_crash, folder, harm, draw.choice))


def test_a_wrong_page_costs_the_batches_on_it_and_opens_a_gap_of_their_time(tmp_path: Path) -> None:
    journal = Journal(tmp_path, catalogue_of(), FakeClock(), Stats())
    journal.open()
    for k in range(40):
        journal.commit(batch_of(500, first_id=k * 500, start_ns=10**18 + k * 10**9, seed=k))
    journal.close()
    path = next((tmp_path / "journal").glob("*.sqlite"))
    with sqlite3.connect(path) as connection:
        body = connection.execute("SELECT body FROM batches WHERE id = 20").fetchone()[0]
    content = bytearray(path.read_bytes())
    at = content.index(body[:100])
    content[at + 50] ^= 0xFF
    path.write_bytes(content)
    journal = Journal(tmp_path, Catalogue(), FakeClock(), Stats())
    assert journal.open().unreadable == []
    assert [number for number, _ in journal.read_after(0, 10**9)] == [*range(1, 20), *range(21, 41)]
    note, = journal.unreadable
    assert "batch 20" in note
    gaps = [gap for _, gap in journal.ledger.gaps(GapState.OPEN)]
    assert {(gap.exchange, gap.market_type) for gap in gaps} == {("binance", "spot"), ("binance", "futures")}
    for gap in gaps:
        assert gap.from_ns <= 10**18 + 19 * 10**9
        assert gap.to_ns >= 10**18 + 19 * 10**9 + 499 * 200_000
        assert gap.to_ns - gap.from_ns < 3 * 10**9
    journal.read_after(0, 10**9)
    assert len(journal.ledger.gaps()) == 2, "told once"
    journal.close()


def test_a_wrong_letter_in_a_name_or_digit_in_a_watermark_is_noticed(tmp_path: Path) -> None:
    journal = Journal(tmp_path, catalogue_of(1), FakeClock(), Stats())
    journal.open()
    journal.commit(batch_of(100, instruments=2))
    journal.acknowledge("questdb", 1)
    journal.close()
    with sqlite3.connect(next((tmp_path / "journal").glob("*.sqlite"))) as connection:
        connection.execute("UPDATE instruments SET symbol = 'C9USDT' WHERE id = 1")
        connection.execute("UPDATE acknowledged SET batch_id = 1000")
    journal = Journal(tmp_path, Catalogue(), FakeClock(), Stats())
    journal.open()
    assert journal.acknowledged("questdb") == 0
    (_, batch), = journal.read_after(0, 1000)
    assert len(batch) == (batch_of(100, instruments=2).instrument == 0).sum()
    assert any("symbol cannot be read" in note for note in journal.unreadable)
    assert any("watermarks" in note for note in journal.unreadable)
    assert journal.ledger.gaps()
    journal.close()


def test_a_commit_lost_inside_the_log_is_named(left_by_a_crash: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"

    def harm(path: Path, content: bytearray) -> None:
        content[32 + 24 + 100] ^= 0xFF  # in the log's first page: all that follows is dropped by SQLite

    damaged_copy(left_by_a_crash, folder, harm, lambda paths: next(p for p in paths if p.name.endswith("-wal")))
    journal = Journal(folder, Catalogue(), Clock(), Stats())
    assert any("write-ahead log" in note for note in journal.open().unreadable)
    assert journal.ledger.gaps()
    journal.close()


def test_a_file_that_is_no_database_is_named_and_kept(left_by_a_crash: Path, whole: dict[int, list[int]],
                                                      tmp_path: Path) -> None:
    folder = tmp_path / "data"
    shutil.copytree(left_by_a_crash, folder)
    path = sorted((folder / "journal").glob("*.sqlite"))[1]
    path.write_bytes(b"nothing of use" * 1000)
    check_survival(folder, whole, path)
    assert path.exists()
