"""Records are empty or not, joined, and taken apart."""

from __future__ import annotations

from pumpwatch.model import Gap
from pumpwatch.records import ConnectionEvent, Quarantined, Records

GAP = Gap(exchange="a", market_type="spot", from_ns=1, to_ns=2, reason="cut")
EVENT = ConnectionEvent(at_ns=1, exchange="a", market_type="spot", connection=0, event="up", reason="")
ROW = Quarantined(at_ns=1, exchange="a", market_type="spot", reason="not JSON", payload=b"{")


def test_records_of_any_kind_are_something():
    assert not Records()
    assert Records([GAP]) and Records(connection_events=[EVENT]) and Records(quarantine=[ROW]) and Records(passed=[(1, 2, 3)])


def test_records_are_extended_kind_by_kind_and_the_other_ones_stay_as_they_are():
    records, other = Records([GAP]), Records([GAP], [EVENT], [ROW], [(1, 2, 3)])
    records.extend(other)
    assert records == Records([GAP, GAP], [EVENT], [ROW], [(1, 2, 3)])
    assert other == Records([GAP], [EVENT], [ROW], [(1, 2, 3)])


def test_one_by_one_yields_each_record_that_the_ledger_stores():
    assert list(Records([GAP], [EVENT, EVENT], [ROW], [(1, 2, 3)]).one_by_one()) == [
        Records([GAP]), Records(connection_events=[EVENT]), Records(connection_events=[EVENT]), Records(quarantine=[ROW])]
