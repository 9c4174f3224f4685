"""The figures' file is read unchanged, or reported as damaged, and blocks nobody."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from pumpwatch.ops import status_file
from pumpwatch.ops.status_file import FILE, Unreadable, read_figures
from tests.ops.data_folder import figures


def test_figures_are_read_with_fields_that_readers_do_not_know(tmp_path: Path) -> None:
    written = figures(new={"a": [1]})
    (tmp_path / FILE).write_bytes(msgspec.json.encode(written))
    assert read_figures(tmp_path) == written


def test_a_missing_file_is_told_from_a_damaged_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_figures(tmp_path)
    (tmp_path / FILE).write_bytes(b'{"pid": 1}')
    with pytest.raises(Unreadable) as raised:
        read_figures(tmp_path)
    assert not isinstance(raised.value, FileNotFoundError)


@pytest.mark.parametrize("field", ["connections", "trades_total", "doubled_total", "subscribed"])
def test_a_count_below_zero_is_damage(tmp_path: Path, field: str) -> None:
    (tmp_path / FILE).write_bytes(msgspec.json.encode(figures(venues=[figures()["venues"][0] | {field: -1}])))
    with pytest.raises(Unreadable):
        read_figures(tmp_path)


def test_a_file_larger_than_the_limit_is_not_read_to_its_end(tmp_path: Path) -> None:
    with (tmp_path / FILE).open("wb") as file:
        file.truncate(status_file.LARGEST_BYTES * 1000)
    with pytest.raises(ValueError, match="larger than"):
        read_figures(tmp_path)


def test_a_pipe_blocks_nobody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / FILE)
    with pytest.raises(Unreadable):
        read_figures(tmp_path)
