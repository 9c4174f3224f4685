"""The results of the last backups are kept, and a damaged file is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from pumpwatch.backup.state import FILE, BackupState, read_state, record_result


def test_an_error_stays_until_a_backup_goes_well(tmp_path: Path) -> None:
    assert read_state(tmp_path) == BackupState()
    record_result(tmp_path, 5, "one", "")
    record_result(tmp_path, 7, "", "disk full")
    assert read_state(tmp_path) == BackupState(last_ok_ns=5, last_name="one", last_try_ns=7, last_error="disk full")
    record_result(tmp_path, 9, "two", "")
    assert read_state(tmp_path) == BackupState(last_ok_ns=9, last_name="two", last_try_ns=9)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'{"last_ok_ns": "x"}'])
def test_a_damaged_file_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    assert read_state(tmp_path) == BackupState()


def test_a_folder_that_cannot_be_written_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert record_result(tmp_path / "nowhere", 5, "one", "").last_ok_ns == 5
    assert "result of the backup not written" in caplog.text
