"""A source that goes down is logged once, and once when it is up again."""

from __future__ import annotations

import logging

import pytest

from pumpwatch.clock import FakeClock
from pumpwatch.listing.source_health import SourceHealth
from pumpwatch.stats import Stats


def test_each_change_is_logged_once_and_the_last_reason_is_kept(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    clock, stats = FakeClock(), Stats()
    health = SourceHealth("board", clock, stats)
    assert health.state()["up"] is None
    health.mark_down("answers 403\n: blocked")
    health.mark_down("answers 500")
    clock.advance(30)
    assert (health.state()["up"], health.state()["reason"]) == (False, "answers 500")
    health.mark_up("https://me:secret@board")
    health.mark_up("https://board")
    assert [record.message.split(" source=")[0] for record in caplog.records] == [
        "listing source down", "listing source up again"]
    assert "after_s=30" in caplog.text and "secret" not in caplog.text and "403\\n" in caplog.text
    assert (health.up, health.state()["reason"], stats.get("listing_source_up", source="board")) == (True, "", 1)
