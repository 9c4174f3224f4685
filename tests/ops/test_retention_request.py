"""Requests to run retention, from a command to a collector through its inbox."""

from __future__ import annotations

from pathlib import Path

from pumpwatch.ops.retention_request import SUFFIX, drop, take_requests


def test_a_request_is_taken_once(tmp_path: Path) -> None:
    assert not take_requests(tmp_path)
    drop(tmp_path)
    (tmp_path / "inbox" / "notice.json").write_text("{}")
    assert take_requests(tmp_path) and not take_requests(tmp_path)
    assert [path.name for path in (tmp_path / "inbox").iterdir()] == ["notice.json"]


def test_a_request_that_cannot_be_removed_is_not_taken_over_and_over(tmp_path: Path) -> None:
    (tmp_path / "inbox" / f"1{SUFFIX}").mkdir(parents=True)
    assert not take_requests(tmp_path)
