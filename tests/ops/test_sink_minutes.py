"""A sink against the journal by minute: what it lacks, what it has too much, and what it need not have yet."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pumpwatch.model import TradeBatch
from pumpwatch.ops.completeness import Judge
from pumpwatch.ops.sink_minutes import SinkMinutes, SinkSum
from pumpwatch.store.minutes import MINUTE_NS
from tests.ops.minute_folder import FACTS, FIRST, START_NS, SYMBOLS, MinuteFolder, trades
from tests.ops.shelves import WHOLE, AddingShelf, ForgettingShelf, Shelf


@pytest.fixture
def data(tmp_path: Path) -> MinuteFolder:
    data = MinuteFolder(tmp_path)
    data.watch(*SYMBOLS)
    data.store(WHOLE)
    return data


def compared(data: MinuteFolder, shelf: Shelf, mark: int = 10**9) -> SinkSum:
    judge = Judge(data.folder, FACTS, marks={"shelf": mark})
    check = SinkMinutes("shelf", shelf, judge.store)
    for day in judge.days(START_NS - MINUTE_NS, START_NS + 4 * MINUTE_NS):
        check.add(day)
    return check.found


@pytest.mark.parametrize("kind", [Shelf, AddingShelf])
def test_a_sink_that_has_everything_agrees(data: MinuteFolder, kind: type[Shelf]) -> None:
    found = compared(data, kind(WHOLE))
    assert (found.compared, found.trades, found.flaws, found.problem) == (6, 360, [], "")


@pytest.mark.parametrize("kind", [Shelf, AddingShelf])
def test_what_it_lacks_is_found_to_the_symbol_and_minute(data: MinuteFolder, kind: type[Shelf]) -> None:
    lost = np.isin(np.arange(360), [70, 71, 350])
    flaws = compared(data, kind(WHOLE.take(~lost))).flaws
    assert [(flaw.symbol, (flaw.from_ns // MINUTE_NS) - FIRST, flaw.detail) for flaw in flaws] == [
        ("AUSDT", 1, "2 of 60 trades are missing in shelf"), ("BUSDT", 2, "1 of 60 trades are missing in shelf")]


def test_other_trades_and_too_many_are_found(data: MinuteFolder) -> None:
    changed = replace(WHOLE, price=np.where(np.arange(360) == 5, 9.0, WHOLE.price))
    more = TradeBatch.concat([changed, trades("BUSDT", [0]), replace(trades("BUSDT", [150]), trade_id=np.array([7]))])
    assert [flaw.detail for flaw in compared(data, AddingShelf(more)).flaws] == [
        "shelf has as many trades, but not the same", "shelf has 1 trades that the journal does not have",
        "shelf has 1 trades that the journal does not have"]


def test_what_the_journal_does_not_claim_to_have_may_be_there(data: MinuteFolder) -> None:
    more = TradeBatch.concat([WHOLE, trades("AUSDT", [-600])])
    assert compared(data, AddingShelf(more)).flaws == []


def test_a_trade_that_is_stored_twice_is_one_in_a_sink(data: MinuteFolder) -> None:
    data.store(trades("AUSDT", [3]))
    assert compared(data, AddingShelf(WHOLE)).flaws == []


def test_minutes_that_it_has_not_acknowledged_are_not_expected(data: MinuteFolder) -> None:
    data.store(trades("AUSDT", [200]))
    found = compared(data, AddingShelf(WHOLE), mark=1)
    assert (found.flaws, found.waiting, found.compared) == ([], 1, 6)


def test_what_it_deletes_by_age_is_not_expected(data: MinuteFolder) -> None:
    found = compared(data, ForgettingShelf(WHOLE.take(slice(0, 0))))
    assert (found.flaws, found.compared) == ([], 0)


def test_a_sink_that_does_not_answer_is_a_problem(data: MinuteFolder) -> None:
    assert compared(data, Shelf(WHOLE, away=True)).problem == "the shelf is away; dust it"


