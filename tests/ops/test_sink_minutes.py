"""A sink against the journal by minute: what it lacks, what it has too much, and what it need not have yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pumpwatch.catalogue import Catalogue
from pumpwatch.errors import ServiceUnavailable
from pumpwatch.hookspecs import Keeping, Sink, SymbolMinute
from pumpwatch.model import TradeBatch
from pumpwatch.ops.completeness import Judge
from pumpwatch.ops.sink_minutes import SinkMinutes, SinkSum
from pumpwatch.store.minutes import MINUTE_NS, minutes_of
from tests.ops.minute_folder import FACTS, FIRST, START_NS, SYMBOLS, MinuteFolder, catalogue, trades

WHOLE = TradeBatch.concat([trades(symbol, range(180)) for symbol in SYMBOLS])


class Shelf(Sink):
    """A sink that has these trades and is read."""

    def __init__(self, kept: TradeBatch, away: bool = False) -> None:
        self.kept, self._away = kept, away

    def read(self, names: Sequence[tuple[str, str, str]], start_ns: int, end_ns: int, catalogue_of: Catalogue) -> TradeBatch:
        if self._away:
            raise ServiceUnavailable("the shelf is away", "dust it")
        inside = self.kept.take((self.kept.timestamp >= start_ns) & (self.kept.timestamp < end_ns))
        return replace(inside, instrument=np.array([catalogue_of.ids_of(name[:2])[name[2]] for name in
                                                    catalogue().names(inside.instrument)], np.int32))


class AddingShelf(Shelf):
    """A sink that adds up by itself."""

    def minute_sums(self, start_ns: int, end_ns: int) -> list[SymbolMinute]:
        found = minutes_of(self.kept.take((self.kept.timestamp >= start_ns) & (self.kept.timestamp < end_ns)))
        return [(*name, minute, count, checksum) for name, minute, count, checksum in zip(
            catalogue().names(found.instrument), found.minute.tolist(), found.trades.tolist(), found.checksum.tolist(),
            strict=True)] + [("other", "spot", "AUSDT", start_ns // MINUTE_NS, 5, 5)]

    def read(self, *_: object) -> TradeBatch:
        raise AssertionError("it adds up by itself")


class ForgettingShelf(Shelf):
    """A sink that deletes what is older than a minute."""

    def keeping(self) -> Keeping:
        return Keeping(keeps_s=60.0)


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
        ("AUSDT", 1, "shelf lacks 2 of 60 trades"), ("BUSDT", 2, "shelf lacks 1 of 60 trades")]


def test_other_trades_and_too_many_are_found(data: MinuteFolder) -> None:
    changed = replace(WHOLE, price=np.where(np.arange(360) == 5, 9.0, WHOLE.price))
    more = TradeBatch.concat([changed, trades("BUSDT", [0]), replace(trades("BUSDT", [150]), trade_id=np.array([7]))])
    assert [flaw.detail for flaw in compared(data, AddingShelf(more)).flaws] == [
        "shelf has as many trades, but not the same", "shelf has 1 trades that the journal lacks",
        "shelf has 1 trades that the journal lacks"]


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


