"""The results for a gap stay with it: over restarts, growth, the loss of the file, and the gap's own end."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pumpwatch.clock import NS_PER_S
from pumpwatch.model import Gap, GapState
from pumpwatch.records import GapFill, Records
from pumpwatch.store.ledger import Ledger
from pumpwatch.store.salvage import salvage_file
from pumpwatch.store.sqlite import connect
from pumpwatch.store.upkeep import RECORDS_KEPT_S

GAP = Gap(exchange="binance", market_type="spot", from_ns=100, to_ns=200, reason="connection 0: cut", symbols=("A", "B"))
JUMP = replace(GAP, symbol="A", symbols=(), first_id=7, last_id=9, reason="ids jump from 6 to 10")
FILL = GapFill(gap=GAP, symbol="A", state=GapState.FILLED, found=3, missing=0, by="id", at_ns=300)


@pytest.fixture
def ledger(tmp_path):
    found = Ledger(tmp_path)
    yield found
    found.close()


def test_fills_come_back_with_their_gap(ledger):
    lost = replace(FILL, gap=JUMP, state=GapState.LOST, found=1, missing=2, reason="history", lost_from_ns=120, lost_to_ns=140)
    ledger.write(Records(gaps=[GAP, JUMP], fills=[FILL, lost]))
    assert sorted(ledger.fills_between(0, 1000), key=lambda fill: fill.found) == [lost, FILL]
    assert ledger.fills_between(200, 300) == [] and ledger.open_fills() == ledger.fills_between(150, 160)


def test_writing_a_fill_again_changes_nothing_and_a_newer_one_replaces_it(ledger):
    ledger.write(Records(gaps=[GAP], fills=[replace(FILL, state=GapState.OPEN, found=1)]))
    for _ in range(2):
        ledger.write(Records(fills=[FILL]))
    assert ledger.fills_between(0, 1000) == [FILL]


def test_fills_of_a_gap_that_has_grown_do_not_count(ledger):
    ledger.write(Records(gaps=[GAP], fills=[FILL]))
    ledger.write(Records(gaps=[replace(GAP, to_ns=250)]))
    assert ledger.fills_between(0, 1000) == []


def test_a_gap_that_has_grown_is_not_closed_by_what_was_decided_before(ledger):
    ledger.write(Records(gaps=[replace(GAP, to_ns=250)]))
    ledger.write(Records(gaps=[replace(GAP, state=GapState.FILLED)]))
    assert [gap.state for _, gap in ledger.gaps()] == [GapState.OPEN]
    ledger.write(Records(gaps=[replace(GAP, to_ns=250, state=GapState.FILLED)]))
    assert [gap.state for _, gap in ledger.gaps()] == [GapState.FILLED]
    assert ledger.gap_counts() == {("binance", "spot", "filled"): 1}


def test_fills_survive_the_copy_of_a_damaged_file(ledger, tmp_path):
    ledger.write(Records(gaps=[GAP], fills=[FILL]))
    ledger.close()
    (tmp_path / "other").mkdir()
    Ledger(tmp_path / "other").close()
    target = connect(tmp_path / "other" / "ledger.sqlite")
    salvage_file(tmp_path / "ledger.sqlite", target)
    target.close()
    copy = Ledger(tmp_path / "other")
    assert copy.fills_between(0, 1000) == [FILL]
    copy.close()


def test_fills_go_with_their_gap(ledger):
    ledger.write(Records(gaps=[replace(GAP, state=GapState.FILLED), JUMP], fills=[FILL, replace(FILL, gap=JUMP)]))
    while ledger.upkeep(int((RECORDS_KEPT_S + 1) * NS_PER_S) + 1000):
        pass
    assert [fill.gap.symbol for fill in ledger.fills_between(0, 1000)] == ["A"]
    assert ledger._rows("SELECT count(*) FROM gap_fills", ())[0][0] == 1
