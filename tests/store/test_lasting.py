"""The collector's ledger goes on whatever becomes of its file, and says what it lost."""

from __future__ import annotations

import random
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import gevent
import pytest
from gevent.threadpool import ThreadPool
from sqlite_utils import Database

from pumpwatch.clock import FakeClock
from pumpwatch.errors import StorageError
from pumpwatch.model import TradeBatch
from pumpwatch.records import ConnectionEvent, Quarantined, Records
from pumpwatch.stats import Stats
from pumpwatch.store import lasting, recorder
from pumpwatch.store.committer import Committer
from pumpwatch.store.lasting import DAMAGED_GAPS, IDENTITY_NAME, LOST, LastingLedger
from pumpwatch.store.ledger import FILE_NAME, Ledger
from pumpwatch.store.migrations import migrations
from pumpwatch.store.recorder import Recorder
from pumpwatch.store.waiting import WAITING_NAME, waiting_gaps
from tests.store.filled_ledger import (
    GAPS,
    PAGE,
    START_NS,
    damage,
    filled,
    journal_of,
    locked,
    opened,
    reasons,
    use_all,
)
from tests.trades import batch_of, catalogue_of


def test_whichever_page_is_damaged_before_the_start_the_journal_opens_and_what_is_lost_is_named(
        left: Path, tmp_path: Path) -> None:
    pages = (left / FILE_NAME).stat().st_size // PAGE
    assert pages > 30
    kept_gaps = set_aside = 0
    for page in range(pages):
        folder = Path(shutil.copytree(left, tmp_path / str(page)))
        damage(folder / FILE_NAME, page)
        journal = journal_of(folder)
        recovery = journal.open()
        assert recovery.last_batch_id == 1 and journal.commit(batch_of(10, first_id=1000)) == 2
        use_all(journal.ledger)
        gaps = [gap for _, gap in journal.ledger.gaps()]
        assert replace(GAPS[0], symbol="NEW") in gaps
        missing = set(GAPS) - set(gaps)
        assert not missing or DAMAGED_GAPS in reasons(journal.ledger), page
        assert journal.ledger.seen_notices("upbit", ["new"]) == {"new": "a"}
        kept_gaps += len(gaps) - 1
        set_aside += bool(list(folder.glob(f"{FILE_NAME}.damaged-*")))
        journal.close()
        assert sqlite3.connect(folder / FILE_NAME).execute("PRAGMA integrity_check").fetchone() == ("ok",)
        shutil.rmtree(folder)
    assert set_aside == pages
    assert kept_gaps > 0.8 * pages * len(GAPS), "one page costs what was on it"


def test_whichever_page_is_damaged_while_running_every_trade_is_stored_and_every_later_record(
        folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "RETRY_S", 0.01)
    journal, clock = journal_of(folder), FakeClock(START_NS)
    journal.open()
    monkeypatch.setattr(lasting, "WITHIN_S", 0.0)
    thread, ledger_thread = ThreadPool(1), ThreadPool(1)
    stored: list[TradeBatch] = []
    one = Committer(journal, thread, Recorder(journal.record, stats := Stats()), catalogue_of(), clock, stats, 10**6,
                    lambda number, batch: stored.append(batch))
    running = gevent.spawn(one.run)
    pages = (folder / FILE_NAME).stat().st_size // PAGE
    for page in range(pages):
        if page < (folder / FILE_NAME).stat().st_size // PAGE:
            damage(folder / FILE_NAME, page)
        one.put(batch_of(10, first_id=1000 + 10 * page), Records(gaps=[replace(GAPS[0], symbol=f"PAGE{page}")]))
        with gevent.Timeout(20):
            while one.holds_something:
                gevent.sleep(0.001)
        ledger_thread.apply(use_all, (journal.ledger,))
        assert f"PAGE{page}" in {gap.symbol for _, gap in ledger_thread.apply(journal.ledger.gaps)}
    one.stop()
    running.join(5)
    assert sum(len(batch) for batch in stored) == 10 * pages
    thread.apply(journal.close)
    assert list(folder.glob(f"{FILE_NAME}.damaged-*"))


@pytest.mark.parametrize("content", [b"no database at all" * 500, b"x", b"", None])
def test_a_ledger_that_is_garbage_cut_or_emptied_is_begun_anew_and_says_from_when_gaps_are_unknown(
        folder: Path, content: bytes | None) -> None:
    whole = (folder / FILE_NAME).read_bytes()
    (folder / FILE_NAME).write_bytes(whole[: 3 * PAGE + 100] if content is None else content)
    journal = journal_of(folder)
    journal.open()
    ledger = journal.ledger
    told = [gap for _, gap in ledger.gaps() if gap.reason in (LOST, DAMAGED_GAPS)]
    assert {(gap.exchange, gap.market_type) for gap in told} == {("binance", "spot"), ("binance", "futures")}
    assert all(gap.from_ns == START_NS or gap.from_ns < gap.to_ns for gap in told)
    assert len(list(folder.glob(f"{FILE_NAME}.damaged-*Z"))) == (content not in (b"", b"x"))
    assert ledger.notice_count("upbit") == 0, "the next first look seeds"
    journal.close()
    journal = journal_of(folder)
    journal.open()
    assert len([gap for _, gap in journal.ledger.gaps() if gap.reason in (LOST, DAMAGED_GAPS)]) == len(told), "told once"
    journal.close()


def test_a_folder_in_the_ledgers_place_is_set_aside(folder: Path) -> None:
    (folder / FILE_NAME).unlink()
    (folder / FILE_NAME / "inner").mkdir(parents=True)
    ledger = opened(folder)
    use_all(ledger)
    assert reasons(ledger) == {LOST} and [path.name for path in folder.glob("*damaged-*/*")] == ["inner"]
    ledger.close()


def test_a_ledger_that_was_removed_or_replaced_between_two_runs_is_noticed(folder: Path, tmp_path: Path) -> None:
    (folder / FILE_NAME).unlink()
    ledger = opened(folder)
    assert reasons(ledger) == {LOST}
    ledger.close()
    filled(tmp_path / "other")
    (tmp_path / "other" / FILE_NAME).replace(folder / FILE_NAME)
    ledger = opened(folder)
    assert reasons(ledger) == {LOST}, "it is another one"
    ledger.close()
    ledger = opened(folder)
    assert len(ledger.gaps()) == len(GAPS) + 2
    ledger.close()


def test_a_new_folder_and_one_of_the_version_before_have_lost_nothing(folder: Path, tmp_path: Path) -> None:
    ledger = opened(tmp_path / "new")
    assert ledger.gaps() == []
    ledger.close()
    (folder / IDENTITY_NAME).unlink()
    (folder / FILE_NAME).unlink()
    db = Database(folder / FILE_NAME)
    migrations.apply(db, stop_before="gaps_of_connections")
    db.close()
    ledger = opened(folder)
    assert ledger.gaps() == [] and (folder / IDENTITY_NAME).read_text().strip() == ledger.identity()
    ledger.close()


def remove(path: Path) -> None:
    for one in path.parent.glob(f"{path.name}*"):
        one.unlink()


def truncate(path: Path) -> None:
    path.open("r+b").truncate(0)


def replace_by_another(path: Path) -> None:
    remove(path)
    other = Ledger(path.parent)
    other.write(Records(gaps=[replace(GAPS[0], symbol="OTHER")]))
    other.close()


@pytest.mark.parametrize("harm", [remove, truncate, replace_by_another])
def test_what_becomes_of_the_file_while_running_costs_no_record_that_follows(
        folder: Path, harm: Callable[[Path], None]) -> None:
    ledger = opened(folder)
    ledger.gaps()
    harm(folder / FILE_NAME)
    use_all(ledger)
    ledger.close()
    reading = Ledger(folder, read_only=True)
    symbols = {gap.symbol for _, gap in reading.gaps()}
    assert "NEW" in symbols
    assert symbols > {gap.symbol for gap in GAPS} or reasons(reading) & {LOST, DAMAGED_GAPS}
    reading.close()


def test_a_new_ledger_has_the_symbols_of_gaps_whose_set_the_old_one_had(tmp_path: Path) -> None:
    ledger = opened(tmp_path)
    gap = replace(GAPS[0], symbol="", symbols=("A", "B"))
    ledger.write(Records([gap], [], [Quarantined(1, "x", "spot", "r", b"x" * 1000)]))
    for name in (FILE_NAME, f"{FILE_NAME}-wal", f"{FILE_NAME}-shm"):
        (tmp_path / name).unlink()
    (tmp_path / FILE_NAME).write_bytes(b"no database at all" * 500)
    later = replace(gap, from_ns=1000, to_ns=2000)
    ledger._connection.close()  # type: ignore[union-attr]  # so that nothing can be saved of it
    ledger.write(Records([later]))
    assert later in [one for _, one in ledger.gaps()] and gap not in [one for _, one in ledger.gaps()]
    assert ledger._upkeep._bytes is None
    ledger.close()


def test_a_locked_ledger_refuses_and_what_it_refused_is_there_after_a_kill(
        folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lasting, "BUSY_MS", 20)
    ledger = opened(folder)
    records = Records([replace(GAPS[0], symbol="LATE", symbols=("A", "B"))], [], [Quarantined(1, "x", "spot", "r", b"\xff")])
    with locked(folder / FILE_NAME):
        with pytest.raises(StorageError, match="locked"):
            ledger.write(records)
        assert (folder / WAITING_NAME).stat().st_mode & 0o777 == 0o640
        again = opened(folder)  # as the next run would, and still locked
        assert "LATE" not in {gap.symbol for _, gap in again.gaps()}
        again.close()
        assert (folder / WAITING_NAME).exists()
    again = opened(folder)
    assert records.gaps[0] in [gap for _, gap in again.gaps()] and b"\xff" in [row.payload for row in again.quarantine()]
    assert not (folder / WAITING_NAME).exists()
    again.close()
    with locked(folder / FILE_NAME):
        with pytest.raises(StorageError, match="locked"):
            ledger.write(Records(gaps=[replace(GAPS[0], symbol="LATER")]))
        ledger.defer(Records(gaps=[replace(GAPS[0], symbol="NOTED")]))
        ledger.close()
    again = opened(folder)
    assert {"LATER", "NOTED"} <= {gap.symbol for _, gap in again.gaps()}
    again.close()


def test_records_that_the_ledger_did_not_take_by_the_end_are_on_disk(
        folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(lasting, "BUSY_MS", 20)
    for hangs in (False, True):
        caplog.clear()
        journal = journal_of(folder)
        journal.open()
        one = Committer(journal, ThreadPool(1), Recorder(journal.record, stats := Stats()), catalogue_of(), FakeClock(START_NS),
                        stats, 10**6, lambda number, batch: None)
        running = gevent.spawn(one.run)
        release = threading.Event()
        with locked(folder / FILE_NAME):
            if hangs:
                holding = ThreadPool(1).spawn(holds, journal.ledger, release)
            names = {f"{'HUNG' if hangs else 'LOCKED'}{number}" for number in range(40)}
            for name in sorted(names):
                one.put(None, Records(gaps=[replace(GAPS[0], symbol=name)]))
                gevent.sleep(0.005)
            running.kill()
            journal.close(one.rest())
            assert names <= {gap.symbol for gap in waiting_gaps(folder)}
            assert "the next start writes them" in caplog.text
        release.set()
        if hangs:
            holding.get()
        journal = journal_of(folder)
        journal.open()
        assert names <= {gap.symbol for _, gap in journal.ledger.gaps()} and waiting_gaps(folder) == []
        journal.close()


def holds(ledger: LastingLedger, release: threading.Event) -> None:
    with ledger._lock:
        release.wait(20)


def test_a_stop_that_can_keep_the_last_records_in_no_file_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lasting, "BUSY_MS", 20)
    journal = journal_of(folder)
    journal.open()
    (folder / f"{WAITING_NAME}.partial").mkdir()  # so that it cannot be written
    with locked(folder / FILE_NAME), pytest.raises(StorageError, match=WAITING_NAME):
        journal.close(Records(gaps=[replace(GAPS[0], symbol="LATE")]))
    journal = journal_of(folder)  # the folder is let go of all the same
    journal.open()
    journal.close()


@pytest.mark.parametrize("at", [10, 32 + 3 * (24 + PAGE), 32 + 8 * (24 + PAGE) + 500])
def test_a_damaged_write_ahead_log_of_a_crash_is_recorded(tmp_path: Path, at: int) -> None:
    running = tmp_path / "running"
    filled(running)
    journal = journal_of(running)
    journal.open()
    for gap in GAPS:
        journal.record(Records(gaps=[replace(gap, symbol="NEW")]))
    folder = Path(shutil.copytree(running, tmp_path / "crashed"))
    journal.close()
    for name in ("lock", f"{FILE_NAME}-shm"):
        (folder / name).unlink()
    journal = journal_of(Path(shutil.copytree(folder, tmp_path / "whole")))
    journal.open()
    assert reasons(journal.ledger) == set() and len(journal.ledger.gaps()) == 2 * len(GAPS)
    journal.close()
    with (folder / f"{FILE_NAME}-wal").open("r+b") as file:
        file.seek(at)
        file.write(random.Random(at).randbytes(64))
    journal = journal_of(folder)
    journal.open()
    assert reasons(journal.ledger) == {DAMAGED_GAPS}
    journal.close()


def test_a_start_with_a_ledger_that_cannot_even_be_read_goes_on_without_it(
        folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lasting, "BUSY_MS", 20)
    monkeypatch.setattr("pumpwatch.store.sqlite.BUSY_MS", 20)
    other = sqlite3.connect(folder / FILE_NAME, isolation_level=None)
    other.execute("PRAGMA locking_mode=EXCLUSIVE")
    other.execute("BEGIN IMMEDIATE")
    journal = journal_of(folder)
    journal.open()
    assert journal.commit(batch_of(10, first_id=1000)) == 2
    with pytest.raises(StorageError, match="locked"):
        journal.record(Records(gaps=[replace(GAPS[0], symbol="LATE")]))
    other.execute("ROLLBACK")
    other.close()
    journal.record(Records(gaps=[replace(GAPS[0], symbol="LATE")]))
    assert len(journal.ledger.gaps()) == len(GAPS) + 1
    assert list(folder.glob(f"{FILE_NAME}.*-*")) == []
    journal.close()


def test_a_full_disk_sets_no_good_ledger_aside(folder: Path) -> None:
    ledger = opened(folder)
    connection = ledger._connection
    assert connection is not None
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count={pages}")
    many = Records(quarantine=[Quarantined(at, "binance", "spot", "bad", b"x" * 4000) for at in range(100)])
    with pytest.raises(StorageError, match="full"):
        ledger.write(many)
    assert (folder / WAITING_NAME).exists() and list(folder.glob(f"{FILE_NAME}.*-*")) == []
    connection.execute("PRAGMA max_page_count=1000000")
    ledger.write(many)
    assert ledger.quarantine_count() == 120 and not (folder / WAITING_NAME).exists()
    ledger.close()


def test_a_record_that_no_file_can_hold_is_left_out_and_named_and_the_others_are_not(
        tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ledger = opened(tmp_path)
    ledger.write(Records([*GAPS[:5], replace(GAPS[5], to_ns=2**70), *GAPS[6:9]],
                         [ConnectionEvent(1, "x", "spot", 1, "up", "\ud800")], []))
    assert [gap for _, gap in ledger.gaps()] == GAPS[:5] + GAPS[6:9]
    assert len([record for record in caplog.records if "record left out" in record.message]) == 2
    ledger.close()


def test_a_disk_that_breaks_each_new_ledger_is_not_filled_with_them(folder: Path) -> None:
    ledger = opened(folder)
    for _ in range(lasting.MOST_ASIDE):
        ledger._replace_file("it broke")
    with pytest.raises(StorageError, match="again and again"):
        ledger._replace_file("it broke")
    ledger.write(Records(gaps=[replace(GAPS[0], symbol="LAST")]))  # the last one is used while it goes
    assert len(ledger.gaps()) == len(GAPS) + 1
    names = {path.name.removesuffix("-wal").removesuffix("-shm") for path in folder.glob(f"{FILE_NAME}.damaged-*")}
    assert len(names) == lasting.MOST_ASIDE
    ledger.close()


def test_deferred_records_are_written_with_the_next_call_from_any_thread(tmp_path: Path) -> None:
    ledger = opened(tmp_path)
    threads = [threading.Thread(target=ledger.defer, args=(Records(gaps=[gap]),)) for gap in GAPS[:8]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {gap.symbol for _, gap in ledger.gaps()} == {gap.symbol for gap in GAPS[:8]}
    ledger.defer(Records(gaps=[GAPS[9]]))
    ledger.close()
    assert len(Ledger(tmp_path).gaps()) == 9


def test_its_lock_is_a_native_one_in_a_process_that_gevent_has_patched(tmp_path: Path) -> None:
    script = ("from gevent import monkey; monkey.patch_all(); import sys; from pathlib import Path;"
              " from pumpwatch.clock import Clock; from pumpwatch.stats import Stats;"
              " from pumpwatch.store.lasting import LastingLedger;"
              " print(type(LastingLedger(Path(sys.argv[1]), Clock(), Stats())._lock))")
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "<class '_thread.RLock'>"
