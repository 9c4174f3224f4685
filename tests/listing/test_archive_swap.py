"""An archive is replaced whole, and a crash at any moment leaves one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pumpwatch.listing import archive_swap
from pumpwatch.listing.archive_swap import partial_of, put_in_place, recover


def folder(path: Path, text: str) -> Path:
    path.mkdir()
    (path / "file").write_text(text)
    return path


def contents(path: Path) -> dict[str, str]:
    return {found.name: (found / "file").read_text() for found in path.iterdir()}


@pytest.mark.parametrize("in_one_step", [True, False])
def test_a_new_archive_takes_the_place_of_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_one_step: bool) -> None:
    if not in_one_step:
        monkeypatch.setattr(archive_swap, "_exchange", lambda one, other: False)
    path = tmp_path / "KITE"
    for text in ("old", "new"):
        put_in_place(folder(partial_of(path), text), path)
        assert contents(tmp_path) == {"KITE": text}


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="the system is not Linux")
def test_the_exchange_is_one_step_on_linux(tmp_path: Path) -> None:
    one, other = folder(tmp_path / "one", "1"), folder(tmp_path / "other", "2")
    assert archive_swap._exchange(one, other)
    assert contents(tmp_path) == {"one": "2", "other": "1"}
    assert not archive_swap._exchange(one, tmp_path / "absent")


def test_an_archive_that_was_renamed_and_not_replaced_comes_back(tmp_path: Path) -> None:
    folder(tmp_path / ".KITE.replaced", "old")
    recover(tmp_path / "KITE")
    assert contents(tmp_path) == {"KITE": "old"}


def test_the_rest_of_a_replaced_archive_is_removed(tmp_path: Path) -> None:
    folder(tmp_path / ".KITE.replaced", "old")
    folder(tmp_path / "KITE", "new")
    recover(tmp_path / "KITE")
    assert contents(tmp_path) == {"KITE": "new"}


def test_what_a_process_that_is_gone_had_half_written_is_removed_and_nothing_else(tmp_path: Path) -> None:
    folder(tmp_path / ".KITE.999999999.partial", "half")
    mine = folder(partial_of(tmp_path / "KITE"), "being written")
    folder(tmp_path / ".OTHER.999999999.partial", "of another archive")
    recover(tmp_path / "KITE")
    assert contents(tmp_path) == {mine.name: "being written", ".OTHER.999999999.partial": "of another archive"}
