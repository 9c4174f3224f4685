"""The symbols that are compared with candles, the figures, and the pace."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pumpwatch.clock import FakeClock
from pumpwatch.model import Flag, Instrument
from pumpwatch.net.ratelimit import TokenBucket
from pumpwatch.ops import candle_run
from pumpwatch.ops.candle_run import SHARE, Budgets, own_minutes
from pumpwatch.ops.completeness import Day, Judge
from pumpwatch.ops.minute_states import State
from pumpwatch.ops.stored_minutes import Store
from pumpwatch.store.minutes import MINUTE_NS
from pumpwatch.venue import HttpRequest
from tests.ops.minute_folder import FACTS, FIRST, START_NS, SYMBOLS, VENUE, MinuteFolder, gap, trades
from tests.ops.scripted_candles import ScriptedVenue

B = Instrument(symbol="BUSDT", base="B", quote="USDT")


@dataclass
class Limits:
    shared_by_markets: bool
    requests_per_minute: float = 300.0


@pytest.fixture
def judge(tmp_path: Path) -> Judge:
    data = MinuteFolder(tmp_path)
    data.watch(*SYMBOLS)
    data.store(trades("BUSDT", range(120)), trades("AUSDT", [70]), gaps=[gap(60, 61, symbol="AUSDT")])
    return Judge(data.folder, FACTS)


@pytest.fixture
def days(judge: Judge) -> list[Day]:
    return list(judge.days(START_NS, START_NS + 3 * MINUTE_NS))


@pytest.fixture
def store(judge: Judge) -> Store:
    return judge.store


def test_each_minute_has_its_state_and_the_figures_that_candles_count(days: list[Day]) -> None:
    found = own_minutes(days[0], VENUE, "AUSDT")
    assert [(own.minute - FIRST, own.state, own.trades, own.volume) for own in found] == [
        (0, State.QUIET, 0, 0.0), (1, State.GAP, 1, 0.25), (2, State.QUIET, 0, 0.0)]
    assert own_minutes(days[0], VENUE, "CUSDT") == [] and own_minutes(days[0], ("other", "spot"), "AUSDT") == []


def test_the_symbols_with_the_most_trades_are_compared(days: list[Day]) -> None:
    venue = ScriptedVenue({}).venue
    assert [(chosen.venue, chosen.symbols) for chosen in candle_run.plan([venue], days, 1)] == [(venue, ["BUSDT"])]
    assert candle_run.plan([venue], days, 0)[0].symbols == ["BUSDT", "AUSDT"]
    venue.market_type = "futures"
    assert candle_run.plan([venue], days, 0) == []


def test_venues_are_asked_and_their_results_come_in_order(days: list[Day], store: Store) -> None:
    scripted = ScriptedVenue({0: (15.0, 60), 1: (15.0, 60)})
    scripted.venue.limits = Limits(True)
    seen: list[tuple[int, int]] = []

    def ask(venue: Any, request: HttpRequest, budget: TokenBucket) -> bytes:
        return scripted.ask(request)

    facts = {(*VENUE, "BUSDT"): B}
    plans = candle_run.plan([scripted.venue], days, 1)
    (found,) = candle_run.compare(plans, days, store, ask, FakeClock((FIRST + 100) * MINUTE_NS), facts,
                                  lambda done, total: seen.append((done, total)))
    assert (found.symbols, found.compared, found.agreed, found.flaws) == (1, 3, 3, []) and seen == [(1, 1)]
    scripted = ScriptedVenue({0: (15.0, 60), 1: (14.9, 60)})
    scripted.venue.limits = Limits(True)
    assert len(candle_run.compare(plans, days, store, ask, FakeClock((FIRST + 100) * MINUTE_NS), {})[0].flaws) == 1


def test_flagged_trades_of_a_minute_that_differs_are_read_from_the_journal(tmp_path: Path) -> None:
    data = MinuteFolder(tmp_path)
    data.watch(*SYMBOLS)
    ordinary, block = trades("BUSDT", range(60)), trades("BUSDT", [30])
    block.flags[:], block.trade_id[:], block.quantity[:] = Flag.BLOCK | Flag.BACKFILLED, 5000, 40.0
    data.store(ordinary, block)
    judge = Judge(data.folder, FACTS)
    days = list(judge.days(START_NS, START_NS + MINUTE_NS))
    assert sorted((part.flags, part.trades, part.volume) for part in judge.store.by_flags(VENUE, "BUSDT", FIRST)) == [
        (0, 60, 15.0), (Flag.BLOCK | Flag.BACKFILLED, 1, 40.0)]
    assert judge.store.by_flags(VENUE, "BUSDT", FIRST - 1000) == [] == judge.store.by_flags(VENUE, "AUSDT", FIRST)
    for candle, agreed in (((15.0, 60), 1), ((55.0, 61), 1), ((54.0, 60), 0)):
        scripted = ScriptedVenue({0: candle})
        scripted.venue.limits = Limits(True)
        (found,) = candle_run.compare(candle_run.plan([scripted.venue], days, 1), days, judge.store,
                                      lambda venue, request, budget, scripted=scripted: scripted.ask(request),  # type: ignore[misc]
                                      FakeClock((FIRST + 100) * MINUTE_NS), {(*VENUE, "BUSDT"): B})
        assert (found.agreed, len(found.flaws)) == (agreed, 1 - agreed)


def test_a_fifth_of_what_a_venue_allows_is_used_and_shared_by_markets_that_it_counts_together() -> None:
    clock = FakeClock()
    budgets = Budgets(clock)
    one, other = ScriptedVenue({}).venue, ScriptedVenue({}).venue
    one.limits = other.limits = Limits(True)
    other.market_type, other.name = "futures", "alpha.futures"
    assert budgets.of(one) is budgets.of(other)
    budgets.of(one).reserve()
    assert abs(budgets.of(one).reserve() - 60 / (300 * SHARE)) < 1e-9
    one.limits = Limits(False)
    assert budgets.of(one) is not budgets.of(other)
