"""The results for a gap stay with it: over restarts, growth, the loss of the file, and the gap's own end."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pumpwatch.clock import NS_PER_S, FakeClock
from pumpwatch.model import Gap, GapState
from pumpwatch.records import GapFill, Records
from pumpwatch.stats import Stats
from pumpwatch.store.lasting import LastingLedger
from pumpwatch.store.ledger import FILE_NAME, Ledger
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


WHOLE = replace(GAP, symbols=())
NOTHING = replace(FILL, gap=WHOLE, found=0)
MANY = [replace(NOTHING, symbol=f"S{number:03}") for number in range(300)]


def stored(ledger: Ledger) -> int:
    return int(ledger._rows("SELECT count(*) FROM gap_fills", ())[0][0])


def by_symbol(fills: list[GapFill]) -> list[GapFill]:
    return sorted(fills, key=lambda fill: (fill.gap.from_ns, fill.symbol))


@pytest.mark.parametrize("gap", [WHOLE, GAP])
def test_fills_that_say_that_nothing_was_missing_are_one_row_once_the_gap_is_filled_and_read_as_before(ledger, gap):
    others = [replace(NOTHING, gap=gap, symbol="X", found=4), replace(NOTHING, gap=gap, symbol="Y", by="overlap"),
              replace(NOTHING, gap=gap, symbol="Z", reason="2 ids are not trades of the venue's history")]
    many = [replace(fill, gap=gap) for fill in MANY]
    ledger.write(Records(gaps=[gap], fills=[*many, *others]))
    assert stored(ledger) == 303
    closed = replace(gap, state=GapState.FILLED)
    for _ in range(2):
        ledger.write(Records(gaps=[closed]))
        assert stored(ledger) == 4
    expected = [replace(fill, gap=closed) for fill in by_symbol([*many, *others])]
    assert by_symbol(ledger.fills_between(0, 1000)) == expected
    ledger.write(Records(gaps=[closed], fills=[*many, *others]))  # records that waited are written again
    assert stored(ledger) == 4 and by_symbol(ledger.fills_between(0, 1000)) == expected
    ledger.write(Records(fills=many[:2]))
    assert by_symbol(ledger.fills_between(0, 1000)) == expected, "each symbol has one fill"


def test_fills_of_a_lost_gap_keep_a_row_each(ledger):
    ledger.write(Records(gaps=[replace(WHOLE, state=GapState.LOST)], fills=MANY))
    assert stored(ledger) == 300


def test_joined_fills_do_not_count_once_the_gap_has_grown_and_are_replaced_when_it_is_filled_again(ledger):
    ledger.write(Records(gaps=[replace(WHOLE, state=GapState.FILLED)], fills=MANY))
    grown = replace(WHOLE, to_ns=250)
    ledger.write(Records(gaps=[grown]))
    assert stored(ledger) == 1 and ledger.fills_between(0, 1000) == [] == ledger.open_fills()
    ledger.write(Records(fills=[replace(fill, gap=grown) for fill in MANY[:7]]))
    ledger.write(Records(gaps=[replace(WHOLE, state=GapState.FILLED)]))  # late, of the gap before it grew
    assert stored(ledger) == 8
    ledger.write(Records(gaps=[replace(grown, state=GapState.FILLED)]))
    assert stored(ledger) == 1 and len(ledger.fills_between(0, 1000)) == 7


def test_joined_fills_survive_the_copy_of_a_damaged_file_and_go_with_their_gap(ledger, tmp_path):
    ledger.write(Records(gaps=[replace(WHOLE, state=GapState.FILLED)], fills=MANY))
    ledger.close()
    (tmp_path / "other").mkdir()
    Ledger(tmp_path / "other").close()
    target = connect(tmp_path / "other" / "ledger.sqlite")
    salvage_file(tmp_path / "ledger.sqlite", target)
    target.close()
    copy = Ledger(tmp_path / "other")
    assert len(copy.fills_between(0, 1000)) == 300
    while copy.upkeep(int((RECORDS_KEPT_S + 1) * NS_PER_S) + 1000):
        pass
    assert stored(copy) == 0
    copy.close()


def test_a_file_of_an_earlier_version_is_read_as_it_is(ledger, tmp_path):
    ledger.write(Records(gaps=[GAP], fills=[FILL]))
    ledger.close()
    connection = connect(tmp_path / "ledger.sqlite")
    connection.execute("ALTER TABLE gap_fills DROP COLUMN symbols")
    connection.close()
    read = Ledger(tmp_path, read_only=True)
    assert read.fills_between(0, 1000) == [FILL]
    read.close()


@pytest.mark.parametrize(("table", "column"), [("gap_fills", "state"), ("gap_fills", "symbols"), ("gap_symbols", "symbols")])
def test_a_damaged_value_costs_its_row_and_the_ledger_is_replaced_once(tmp_path, table, column):
    ledger = LastingLedger(tmp_path, FakeClock(), Stats())
    ledger.write(Records(gaps=[GAP], fills=[FILL]))
    connection = connect(tmp_path / FILE_NAME)
    connection.execute(f"UPDATE {table} SET {column} = '[damaged'")
    connection.close()
    for _ in range(3):
        assert GAP.from_ns in [gap.from_ns for _, gap in ledger.gaps()]
        ledger.fills_between(0, 1000)
    assert len([path for path in tmp_path.glob(f"{FILE_NAME}.damaged-*") if not path.name.endswith(("-wal", "-shm"))]) == 1
    ledger.close()
