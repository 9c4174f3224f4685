"""A backup in a process of its own: its result and its errors are those of the call, and it is out of the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from pumpwatch.backup.child import PROGRAM, backup_in_child
from pumpwatch.backup.plan import BackupPlan, S3Target
from pumpwatch.backup.shelf import PARTIAL, FolderShelf
from pumpwatch.errors import ConfigError, StorageError


def test_the_result_comes_back(plan: BackupPlan) -> None:
    made = backup_in_child(plan)
    assert (made.trades, made.exit_code) == (10_000, 0)
    assert FolderShelf(Path(plan.folder)).manifests() == [made.name]
    assert os.nice(0) == 0, "only the child gives way"


@pytest.mark.parametrize(("change", "kind", "said"), [
    ({"data": "/nonexistent"}, StorageError, "nothing is stored"),
    ({"recipients": ["age1qqq"]}, ConfigError, "not a recipient"),
    ({"s3": S3Target("b", "", endpoint="nonsense")}, ConfigError, "backup.s3.endpoint"),
])
def test_an_error_comes_back_as_itself(plan: BackupPlan, change: dict[str, object], kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said):
        backup_in_child(msgspec.structs.replace(plan, **change))


def test_one_that_takes_too_long_is_ended_and_leaves_no_backup(plan: BackupPlan) -> None:
    with pytest.raises(StorageError, match="took more than 0 s and was ended"):
        backup_in_child(msgspec.structs.replace(plan, mb_per_s=0.000001), within_s=0.01)
    assert FolderShelf(Path(plan.folder)).manifests() == []


def test_one_that_is_told_to_end_lets_go_of_what_it_holds(plan: BackupPlan) -> None:
    slow = msgspec.structs.replace(plan, mb_per_s=0.000001)
    child = subprocess.Popen([sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    try:
        assert child.stdin is not None
        child.stdin.write(msgspec.json.encode(slow))
        child.stdin.close()
        partial, deadline = Path(plan.folder) / PARTIAL, time.monotonic() + 30
        while not partial.exists():
            assert time.monotonic() < deadline and child.poll() is None
            time.sleep(0.02)
        child.terminate()
        assert child.wait(30) == 128 + signal.SIGTERM
        assert not partial.exists()
    finally:
        child.kill()
        child.wait()
