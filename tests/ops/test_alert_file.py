"""The alerts that stand are kept in a file that is whole or absent, and a damaged one is named."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from pumpwatch.errors import StorageError
from pumpwatch.ops.alert_book import LastValue, Standing
from pumpwatch.ops.alert_file import FILE, read_alerts, write_alerts

ALERT = Standing(name="VenueSilent", subject="binance.spot", severity="critical", summary="s", description="d", value=130.5,
                 threshold=120.0, began_at_ns=1_795_000_000_000_000_000, runbook="docs/runbook.md#venuesilent")


def test_what_is_written_is_read_back_and_is_not_for_everybody(tmp_path: Path) -> None:
    assert (read_alerts(tmp_path).standing, read_alerts(tmp_path).ended) == ([], [])
    (tmp_path / FILE).with_suffix(".new").write_text("left by a killed run")
    values = [LastValue("GapLost", "binance.spot", 3.0)]
    write_alerts(tmp_path, [ALERT], [ALERT, ALERT], values)
    found = read_alerts(tmp_path)
    assert (found.standing, found.ended, found.values) == ([ALERT], [ALERT, ALERT], values)
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o640
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"standing": [{"name": 1}]}', b"\xff\xfe", b"[" * 100_000])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(StorageError) as told:
        read_alerts(tmp_path)
    assert str(tmp_path / FILE) in told.value.message


def test_a_pipe_in_its_place_holds_up_nobody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / FILE)
    with pytest.raises(StorageError):
        read_alerts(tmp_path)


def test_a_folder_that_is_not_there_is_an_error_of_the_disk(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        write_alerts(tmp_path / "gone", [ALERT], [])
