"""Files become objects once; what changes or vanishes while it is read is noticed."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import pytest

from pumpwatch.backup.objects import ReadPace
from pumpwatch.backup.shelf import FolderShelf
from pumpwatch.backup.writing import CHANGED_TRIES, Writing, broken_page, figures
from tests.ops.data_folder import store


class Restless(ReadPace):
    """A pace at which a file is touched at so many reads."""

    def __init__(self, path: Path, times: int) -> None:
        super().__init__(0)
        self._path, self.left = path, times

    def passed(self, count: int) -> None:
        if self.left and count:
            self.left -= 1
            os.utime(self._path, ns=(0, self.left))


def writing_in(folder: Path, pace: ReadPace | None = None, **options: Any) -> Writing:
    (folder / ".partial").mkdir(parents=True, exist_ok=True)
    return Writing(FolderShelf(folder), folder / ".partial", [], pace or ReadPace(0), options.get("before", {}), 0)


def test_two_files_with_one_content_are_one_object(tmp_path: Path) -> None:
    writing = writing_in(tmp_path / "b")
    writing.add_bytes("a", io.BytesIO(b"same"))
    writing.add_bytes("b", io.BytesIO(b"same"))
    assert writing.rows["a"].object == writing.rows["b"].object and len(FolderShelf(tmp_path / "b").sizes()) == 1
    assert list((tmp_path / "b" / ".partial").iterdir()) == []


def test_a_file_that_changes_while_it_is_read_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"begun")
    writing = writing_in(tmp_path / "b", Restless(path, 1))
    assert writing.add_file("f", path) and writing.problems == []
    assert writing.rows["f"].bytes == path.stat().st_size


@pytest.mark.parametrize(("may_change", "problems"), [(False, ["f: it changed while it was read"]), (True, [])])
def test_a_file_that_never_rests_is_a_problem_unless_that_will_do(tmp_path: Path, may_change: bool, problems: list[str]) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"begun")
    writing = writing_in(tmp_path / "b", Restless(path, CHANGED_TRIES * 10))
    writing.add_file("f", path, may_change=may_change)
    assert writing.problems == problems


def test_a_file_that_is_gone_is_not_in_the_backup(tmp_path: Path) -> None:
    writing = writing_in(tmp_path / "b")
    assert not writing.add_file("journal/x.sqlite", tmp_path / "x") and writing.rows == {} == {**writing.rows}


def test_nothing_is_taken_over_from_a_backup_whose_object_is_gone(tmp_path: Path) -> None:
    first = writing_in(tmp_path / "b")
    first.add_bytes("a", io.BytesIO(b"x"), {"t": 3})
    again = writing_in(tmp_path / "b", before=first.rows)
    assert again.rows_before("a") == {"t": 3} and again.add_again("a") and not again.add_again("b")
    (tmp_path / "b" / first.rows["a"].object).unlink()
    assert not writing_in(tmp_path / "b", before=first.rows).add_again("a")


def test_the_counts_of_a_segment_are_its_trades(tmp_path: Path) -> None:
    store(tmp_path)
    path = next((tmp_path / "journal").glob("*.sqlite"))
    found = figures(path, f"journal/{path.name}")
    assert found["trades"] == 1000 and found["rows"]["batches"] == 1 and 0 < found["first_timestamp"] < found["last_timestamp"]
    assert broken_page(path) == ""
    path.write_bytes(b"SQLite format 3\0 and nothing more" * 200)
    assert figures(path, f"journal/{path.name}") == {} and broken_page(path) != ""
