"""One process writes to a data folder, and others know which."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pumpwatch.errors import StorageError
from pumpwatch.store import folder_lock
from pumpwatch.store.folder_lock import LOCK_NAME, holder_of, is_taken_over, lock_folder, lock_takeover, refuse_taken

ASK = ("import sys; from pathlib import Path; from pumpwatch.store.folder_lock import holder_of;"
       " print(holder_of(Path(sys.argv[1])))")


def test_a_folder_is_locked_for_one_process_and_names_the_other(tmp_path: Path) -> None:
    handle = lock_folder(tmp_path)
    with pytest.raises(StorageError, match=f"pid {os.getpid()}"):
        lock_folder(tmp_path)
    os.close(handle)
    os.close(lock_folder(tmp_path))


def test_a_taken_folder_is_refused_before_anything_is_locked(tmp_path: Path) -> None:
    refuse_taken(tmp_path / "not made yet")
    handle = lock_folder(tmp_path)
    with pytest.raises(StorageError, match=f"pid {os.getpid()}"):
        refuse_taken(tmp_path)
    os.close(handle)
    refuse_taken(tmp_path)


def test_the_holder_is_known_to_others(tmp_path: Path) -> None:
    assert holder_of(tmp_path) == 0
    handle = lock_folder(tmp_path)
    done = subprocess.run([sys.executable, "-c", ASK, str(tmp_path)], capture_output=True, text=True, check=True)
    assert int(done.stdout) == os.getpid()
    os.close(handle)
    assert holder_of(tmp_path) == 0


def test_a_pid_that_is_not_the_holders_is_not_believed(tmp_path: Path) -> None:
    handle = lock_folder(tmp_path)
    (tmp_path / LOCK_NAME).write_text("1\n")
    with pytest.raises(StorageError, match="is not that process"):
        holder_of(tmp_path)
    os.close(handle)


def test_one_process_at_a_time_takes_over(tmp_path: Path) -> None:
    handle = lock_takeover(tmp_path)
    with pytest.raises(StorageError, match="is already taking over"):
        lock_takeover(tmp_path)
    os.close(handle)
    os.close(lock_takeover(tmp_path))


def test_a_holder_that_ends_while_it_is_looked_up_is_not_a_foreign_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    handles = [lock_folder(tmp_path)]

    def gone(pid: int, path: Path) -> bool:
        os.close(handles.pop())
        return False

    monkeypatch.setattr(folder_lock, "_has_open", gone)
    assert holder_of(tmp_path) == 0
    assert handles == []


def test_a_holder_that_has_not_yet_written_its_pid_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    handle = lock_folder(tmp_path)
    (tmp_path / LOCK_NAME).write_text("")
    monkeypatch.setattr(folder_lock.time, "sleep", lambda _: (tmp_path / LOCK_NAME).write_text(f"{os.getpid()}\n"))
    assert holder_of(tmp_path) == os.getpid()
    os.close(handle)


def test_a_takeover_is_seen_while_it_goes_on_and_no_longer(tmp_path: Path) -> None:
    assert not is_taken_over(tmp_path)
    handle = lock_takeover(tmp_path)
    assert is_taken_over(tmp_path)
    os.close(handle)
    assert not is_taken_over(tmp_path)
