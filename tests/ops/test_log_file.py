"""The log's files are rotated by size and by age, compressed, and removed; a disk that refuses costs no line of stderr."""

from __future__ import annotations

import gzip
import logging
import time
from pathlib import Path

import pytest

from pumpwatch.config_log import LogConfig
from pumpwatch.errors import StorageError
from pumpwatch.ops.log_file import NAME, LogFile


def write(config: LogConfig, lines: int, first: int = 0) -> None:
    handler = LogFile(config)
    handler.setFormatter(logging.Formatter("2026-11-28T10:00:00.000Z INFO x %(message)s"))
    for number in range(first, first + lines):
        handler.handle(logging.LogRecord("x", logging.INFO, "", 0, f"line {number:06}", None, None))
    handler.close()
    deadline = time.monotonic() + 60
    path = Path(config.folder) / NAME
    while not path.exists() or not path.read_text("utf-8").endswith(f"line {first + lines - 1:06}\n"):  # a busy machine is slow
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_file_is_rotated_by_size_and_the_oldest_are_removed(tmp_path: Path) -> None:
    write(LogConfig(folder=str(tmp_path), file_mb=0.01, files=2, file_hours=0.0), 1000)
    assert sorted(path.name for path in tmp_path.iterdir()) == [NAME, f"{NAME}.1.gz", f"{NAME}.2.gz"]
    whole = gzip.decompress((tmp_path / f"{NAME}.2.gz").read_bytes()).decode()
    whole += gzip.decompress((tmp_path / f"{NAME}.1.gz").read_bytes()).decode() + (tmp_path / NAME).read_text()
    numbers = [int(line.split()[-1]) for line in whole.splitlines()]
    assert numbers == list(range(numbers[0], 1000)) and 0 < numbers[0] < 1000
    assert (tmp_path / NAME).stat().st_size <= 10_000


def test_a_file_is_rotated_by_age_over_a_restart_too(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text("2020-01-01T00:00:00.000Z INFO x old\n")
    write(LogConfig(folder=str(tmp_path), file_hours=1.0), 1)
    assert gzip.decompress((tmp_path / f"{NAME}.1.gz").read_bytes()) == b"2020-01-01T00:00:00.000Z INFO x old\n"
    assert (tmp_path / NAME).read_text().endswith("line 000000\n")


def test_a_file_of_an_earlier_run_is_continued(tmp_path: Path) -> None:
    config = LogConfig(folder=str(tmp_path), file_hours=0.0)
    write(config, 2)
    write(config, 2, first=2)
    assert [line.split()[-1] for line in (tmp_path / NAME).read_text().splitlines()] == ["000000", "000001", "000002", "000003"]


def test_a_folder_that_cannot_be_used_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file/logs"):
        LogFile(LogConfig(folder=str(tmp_path / "file" / "logs")))
