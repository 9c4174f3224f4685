"""Requests to renew connections, from a command to a collector through its inbox."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pumpwatch.errors import StorageError
from pumpwatch.ops.renewal_request import SUFFIX, drop, take_requests


def test_a_request_is_taken_once_and_several_are_joined(tmp_path: Path) -> None:
    assert take_requests(tmp_path) == set()
    drop(tmp_path, ["a.spot"])
    drop(tmp_path, ["b.spot", "a.spot"])
    (tmp_path / "inbox" / "notice.json").write_text("{}")
    assert take_requests(tmp_path) == {"a.spot", "b.spot"} and take_requests(tmp_path) == set()
    assert [path.name for path in (tmp_path / "inbox").iterdir()] == ["notice.json"]


def test_what_is_no_request_is_removed_logged_and_renews_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    (inbox / f"1{SUFFIX}").write_text("{")
    (inbox / f"2{SUFFIX}").write_text('{"venues": 7}')
    os.mkfifo(inbox / f"3{SUFFIX}")
    (inbox / f"4{SUFFIX}").write_bytes(b" " * 100_000)
    assert take_requests(tmp_path) == set() and not list(inbox.iterdir())
    assert caplog.text.count("invalid renewal request removed file=") == 4


def test_a_request_that_cannot_be_removed_renews_nothing_over_and_over(tmp_path: Path) -> None:
    (tmp_path / "inbox" / f"1{SUFFIX}").mkdir(parents=True)
    drop(tmp_path, ["a.spot"])
    assert take_requests(tmp_path) == {"a.spot"} and take_requests(tmp_path) == set()


def test_a_folder_that_cannot_be_written_is_an_error_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "inbox").write_text("")
    with pytest.raises(StorageError, match="cannot write the request"):
        drop(tmp_path, ["a.spot"])
