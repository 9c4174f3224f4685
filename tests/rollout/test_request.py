"""A request reaches the collector through its inbox, whole and once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pumpwatch.clock import FakeClock
from pumpwatch.rollout.request import RolloutRequest, drop_request, take_requests


def test_requests_are_taken_once_and_in_their_order(tmp_path: Path) -> None:
    clock = FakeClock()
    assert take_requests(tmp_path) == []
    first = drop_request(tmp_path, RolloutRequest("start"), clock)
    clock.advance(1)
    second = drop_request(tmp_path, RolloutRequest("back", "it looked odd"), clock)
    assert take_requests(tmp_path) == [(first, RolloutRequest("start")), (second, RolloutRequest("back", "it looked odd"))]
    assert take_requests(tmp_path) == []


def test_what_is_no_request_is_removed_and_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    for number, content in enumerate((b"{", b'{"action": 7}', b"\xff", b"x" * 10**7), 1):
        (inbox / f"{number}.rollout").write_bytes(content)
    os.mkfifo(inbox / "5.rollout")
    (inbox / "6.rollout").mkdir()
    (inbox / "notice.json").write_text("{}")
    assert take_requests(tmp_path) == []
    assert sorted(path.name for path in inbox.iterdir()) == ["6.rollout", "notice.json"]
    assert len([one for one in caplog.records if "invalid roll-out request removed" in one.getMessage()]) == 6
