"""Records that the ledger refuses survive in a file, whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from pumpwatch.errors import StorageError
from pumpwatch.model import Gap
from pumpwatch.records import Quarantined, Records
from pumpwatch.store.waiting import WAITING_NAME, WaitingFile, waiting_gaps

GAP = Gap(exchange="a", market_type="spot", from_ns=1, to_ns=2, reason="down")
RECORDS = Records(gaps=[GAP], quarantine=[Quarantined(1, "a", "spot", "no JSON", b"\xff")])


def test_what_is_kept_is_loaded_by_the_next_run_and_forgotten_when_written(tmp_path: Path) -> None:
    file = WaitingFile(tmp_path)
    assert file.keep(lambda: [Records(gaps=[GAP]), Records(), Records(quarantine=RECORDS.quarantine)])
    again = WaitingFile(tmp_path)
    assert again.load() == RECORDS and waiting_gaps(tmp_path) == [GAP]
    assert again.keep(list)
    assert WaitingFile(tmp_path).load() is None


def test_what_the_file_has_already_is_not_written_again(tmp_path: Path) -> None:
    file = WaitingFile(tmp_path)
    parts = [RECORDS, Records(gaps=[GAP])]
    assert file.keep(lambda: parts)
    file.path.write_bytes(b"{")
    assert file.keep(lambda: [Records(), *parts]) and file.path.read_bytes() == b"{"
    assert file.keep(lambda: parts[:1]) and WaitingFile(tmp_path).load() == RECORDS


def test_after_its_end_it_changes_no_more(tmp_path: Path) -> None:
    file = WaitingFile(tmp_path)
    assert file.end([Records(), RECORDS])
    assert not file.keep(lambda: [Records(gaps=[GAP])]) and not file.keep(list)
    assert WaitingFile(tmp_path).load() == RECORDS
    assert not WaitingFile(tmp_path / "other").end([Records()])


def test_a_damaged_file_is_a_value_error_and_names_no_gap(tmp_path: Path) -> None:
    (tmp_path / WAITING_NAME).write_bytes(b"{")
    with pytest.raises(ValueError, match="truncated"):
        WaitingFile(tmp_path).load()
    assert waiting_gaps(tmp_path) == []


def test_a_disk_that_refuses_is_logged_once_and_at_the_end_an_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = WaitingFile(tmp_path / "gone")
    for _ in range(3):
        assert not file.keep(lambda: [RECORDS])
    assert caplog.text.count("in memory only") == 1
    with pytest.raises(StorageError):
        file.end([RECORDS])


def test_a_record_that_cannot_be_encoded_is_left_out_and_the_others_are_not(tmp_path: Path) -> None:
    odd = Quarantined(1, "a", "spot", "\ud800", b"")
    WaitingFile(tmp_path).keep(lambda: [Records(gaps=[GAP], quarantine=[odd])])
    assert WaitingFile(tmp_path).load() == Records(gaps=[GAP])
