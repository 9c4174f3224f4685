"""A start finds the lock of a folder, its segments, and the point that the last run had reached."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pumpwatch.clock import NS_PER_S, FakeClock
from pumpwatch.errors import StorageError
from pumpwatch.stats import Stats
from pumpwatch.store.journal import Journal
from pumpwatch.store.manifest import FILE
from pumpwatch.store.recovery import holder_of, load_segments, lock_folder
from tests.store.small_journal import START_NS, NotedDamage, small_journal
from tests.trades import batch_of, catalogue_of


def test_the_last_moment_of_a_run_is_right_though_its_clock_was_not(tmp_path: Path) -> None:
    for number, wrong_s in enumerate((5 * 86_400, -2 * 86_400)):
        folder, clock = tmp_path / str(number), FakeClock(START_NS)
        journal = Journal(folder, catalogue_of(), clock, Stats())
        journal.open()
        batch = batch_of(10, start_ns=START_NS)
        batch.received_at[:] += wrong_s * NS_PER_S
        journal.commit(batch)
        journal.close()
        clock.advance(6 * 86_400)
        journal = Journal(folder, catalogue_of(), clock, Stats())
        assert abs(journal.open().last_received_at_ns - START_NS) < NS_PER_S
        journal.close()


def test_a_folder_is_locked_for_one_process_and_names_the_other(tmp_path: Path) -> None:
    handle = lock_folder(tmp_path)
    with pytest.raises(StorageError, match=f"pid {os.getpid()}"):
        lock_folder(tmp_path)
    os.close(handle)
    os.close(lock_folder(tmp_path))


def test_a_stopped_run_is_clean_and_a_killed_one_is_recovered(tmp_path: Path) -> None:
    clock = FakeClock(START_NS)
    journal = Journal(tmp_path, catalogue_of(), clock, Stats())
    journal.open()
    journal.commit(batch_of(10, start_ns=clock.now_ns()))
    shutil.copytree(tmp_path, copy := tmp_path.parent / f"{tmp_path.name}-killed")
    journal.acknowledge("sink", 1)
    journal.close()
    stopped, killed = (load_segments(folder, NotedDamage(), clock.now_ns()) for folder in (tmp_path, copy))
    assert (stopped.clean, stopped.last_id, stopped.acknowledged["sink"]) == (True, 1, 1)
    assert (killed.clean, killed.last_id, killed.acknowledged) == (False, 1, {})
    assert [segment.trades for segment in killed.segments] == [10]


def test_an_unreadable_file_is_a_gap_and_the_ids_it_may_hold_are_skipped(tmp_path: Path) -> None:
    paths = small_journal(tmp_path)
    (tmp_path / FILE).unlink()
    paths[2].write_bytes(b"no database")
    damage = NotedDamage()
    found = load_segments(tmp_path, damage, START_NS)
    assert [segment.readable for segment in found.segments] == [False, True, True]
    assert found.last_id > 1000 and not found.clean
    assert {gap.market_type for gap in damage.gaps} == {"spot", "futures"}


def test_the_holder_of_a_folder_is_known_to_others(tmp_path: Path) -> None:
    assert holder_of(tmp_path) == 0
    handle = lock_folder(tmp_path)
    asked = ("import sys; from pathlib import Path; from pumpwatch.store.recovery import holder_of;"
             " print(holder_of(Path(sys.argv[1])))")
    done = subprocess.run([sys.executable, "-c", asked, str(tmp_path)], capture_output=True, text=True, check=True)
    assert int(done.stdout) == os.getpid()
    os.close(handle)
    assert holder_of(tmp_path) == 0
