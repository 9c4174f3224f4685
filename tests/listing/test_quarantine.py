"""Rejected rows are recorded once, within bounds, and logged in one line a look."""

from __future__ import annotations

import pytest

from pumpwatch.clock import FakeClock
from pumpwatch.listing.context import IntakeContext
from pumpwatch.listing.quarantine import KNOWN, RECORDED, Quarantine
from pumpwatch.listing.validation import RejectedRow
from pumpwatch.records import KEPT_BYTES, Quarantined, Records
from pumpwatch.stats import Stats


class Recorded:
    def __init__(self) -> None:
        self.rows: list[Quarantined] = []
        self.stats = Stats()
        self.quarantine = Quarantine("board", IntakeContext(
            ledger=None, clock=FakeClock(), stats=self.stats, on_listing=lambda listing: None, record=self.record))  # type: ignore[arg-type]

    def record(self, records: Records) -> None:
        self.rows += records.quarantine


def rows_of(count: int, start: int = 0) -> list[RejectedRow]:
    return [RejectedRow("bad title", str(number).encode()) for number in range(start, start + count)]


def test_a_row_that_every_look_shows_is_recorded_once() -> None:
    recorded = Recorded()
    for _ in range(3):
        recorded.quarantine.record([*rows_of(2), RejectedRow("another reason", b"0"), *rows_of(1)])
    assert [(row.exchange, row.market_type, row.reason, row.payload) for row in recorded.rows] == [
        ("board", "listing", "bad title", b"0"), ("board", "listing", "bad title", b"1"),
        ("board", "listing", "another reason", b"0")]
    assert recorded.stats.get("listing_rejected_total", source="board") == 3


def test_of_many_rows_the_first_are_stored_and_all_are_counted_in_one_log_line(caplog: pytest.LogCaptureFixture) -> None:
    recorded = Recorded()
    recorded.quarantine.record(rows_of(RECORDED + 50))
    assert len(recorded.rows) == RECORDED
    assert recorded.stats.get("listing_rejected_total", source="board") == RECORDED + 50
    assert [record.message for record in caplog.records] == [
        f"notices quarantined source=board count={RECORDED + 50} recorded={RECORDED} reason='bad title' row=b'0'"]


def test_a_large_row_is_cut() -> None:
    recorded = Recorded()
    recorded.quarantine.record([RejectedRow("too large", b"x" * (KEPT_BYTES * 2))])
    assert len(recorded.rows[0].payload) == KEPT_BYTES


def test_the_memory_of_recorded_rows_is_bounded() -> None:
    recorded = Recorded()
    recorded.quarantine.record(rows_of(KNOWN + 10))
    assert len(recorded.quarantine._known) == KNOWN
    recorded.quarantine.record(rows_of(5))  # forgotten meanwhile
    assert len(recorded.rows) == RECORDED + 5
