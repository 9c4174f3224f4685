"""A placement keeps its rules whatever was listed, delisted, rejected and moved before."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from pumpwatch_plugins.exchanges.binance import VENUES as BINANCE
from pumpwatch_plugins.exchanges.bybit import VENUES as BYBIT

from pumpwatch.feeds.placement import AGREED, DROPPED_AFTER, SHRUNKEN, Placement
from pumpwatch.model import Instrument
from pumpwatch.venue import Venue

NAMES = [f"S{number}" for number in range(60)]
LONG = [f"{number}币" + "L" * (number % 90) for number in range(60)]
VOLUMES = st.one_of(st.just(0.0), st.floats(1.0, 1e9))
LISTS = st.dictionaries(st.sampled_from(NAMES), VOLUMES, max_size=60)


def venue(of: Venue = BINANCE[0], **limits: Any) -> Venue:
    return dataclasses.replace(of, limits=dataclasses.replace(of.limits, **limits))


def listed(volumes: dict[str, float]) -> list[Instrument]:
    return [Instrument(symbol=symbol, base="B", quote="USDT", volume=volume) for symbol, volume in volumes.items()]


def placed(roster: Placement) -> dict[str, int]:
    return {symbol: number for number, place in enumerate(roster.places) for symbol in place.symbols}


def topics_length(symbols: set[str]) -> int:
    """Return how the venue counts it: the characters of the arguments that subscribed these."""
    arguments = json.loads(BYBIT[1].subscribe(sorted(symbols), 1))["args"]
    return len(json.dumps(arguments, separators=(",", ":"), ensure_ascii=False))


class PlacementMachine(RuleBasedStateMachine):
    """A roster in the hands of a venue that lists, delists, refuses, and fills up."""

    @initialize(per_connection=st.integers(1, 20), connection_bytes=st.sampled_from([0, 600, 1500]))
    def begin(self, per_connection: int, connection_bytes: int) -> None:
        self.connection_bytes, self.per_connection = connection_bytes, per_connection
        self.placement = Placement(venue(BYBIT[1], connection_bytes=connection_bytes, symbols_per_connection=30), per_connection)
        self.known: dict[str, float] = {}
        self.lacking: set[str] = set()  # in the last list
        self.agreed = 0  # lists that lacked just these
        self.absent: dict[str, int] = {}  # so many lists lacked each of them, one after the other

    @rule(volumes=st.dictionaries(st.sampled_from(NAMES + LONG), VOLUMES, max_size=120))
    def refresh(self, volumes: dict[str, float]) -> None:
        before = placed(self.placement)
        came, gone = self.placement.refresh(listed(volumes))
        after = placed(self.placement)
        assert came == volumes.keys() - before.keys()
        lacking = before.keys() - volumes.keys()
        self.agreed = self.agreed + 1 if lacking == self.lacking else 1
        self.lacking = lacking
        self.absent = {symbol: self.absent.get(symbol, 0) + 1 for symbol in lacking}
        believed = len(volumes) >= SHRUNKEN * len(before) or self.agreed >= AGREED
        assert gone == {symbol for symbol in lacking if believed and self.absent[symbol] >= DROPPED_AFTER}
        assert after.keys() == (before.keys() | volumes.keys()) - gone
        assert {symbol: after[symbol] for symbol in before.keys() - gone} == {
            symbol: number for symbol, number in before.items() if symbol not in gone}  # nobody moved
        self.known = {symbol: volumes.get(symbol) or self.known.get(symbol, 0.0) for symbol in after}

    @precondition(lambda self: len(self.placement) > 0)
    @rule(data=st.data())
    def refuse(self, data: st.DataObject) -> None:
        symbol = data.draw(st.sampled_from(sorted(placed(self.placement))))
        self.placement.remove(symbol)
        del self.known[symbol]

    @precondition(lambda self: any(len(place.symbols) > 1 for place in self.placement.places))
    @rule(data=st.data())
    def fill_up(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from([n for n, place in enumerate(self.placement.places) if len(place.symbols) > 1]))
        has = sorted(self.placement.places[number].symbols)
        without = set(data.draw(st.lists(st.sampled_from(has), min_size=1, max_size=len(has) - 1, unique=True)))
        before = placed(self.placement)
        self.placement.mark_full(number, without)
        after = placed(self.placement)
        assert after.keys() == before.keys() and {symbol for symbol in before if after[symbol] != before[symbol]} == without
        assert self.placement.places[number].most == len(has) - len(without)

    @invariant()
    def every_limit_is_kept(self) -> None:
        for place in self.placement.places:
            assert len(place.symbols) <= place.most <= self.placement.most <= self.per_connection
            if self.connection_bytes and place.symbols:
                assert topics_length(place.symbols) <= self.connection_bytes

    @invariant()
    def every_symbol_has_one_place_and_every_place_its_volume(self) -> None:
        symbols = [symbol for place in self.placement.places for symbol in place.symbols]
        assert len(symbols) == len(set(symbols)) == len(self.placement)
        for place in self.placement.places:
            assert math.isclose(place.volume, sum(self.known[symbol] for symbol in place.symbols), rel_tol=1e-6, abs_tol=10.0)


TestPlacement = PlacementMachine.TestCase
TestPlacement.settings = settings(max_examples=60, stateful_step_count=12, deadline=None)


@given(LISTS, st.integers(1, 20))
def test_at_first_there_are_no_more_connections_than_headroom_needs_and_each_has_some(volumes, per_connection):
    roster = Placement(venue(), per_connection)
    roster.refresh(listed(volumes))
    assert len(roster.places) == -(-len(volumes) // roster.capacity)
    assert all(len(place.symbols) <= roster.capacity for place in roster.places)
    assert roster.capacity < roster.most or per_connection < 10


@given(LISTS, st.integers(1, 20))
def test_no_connection_is_busier_than_one_with_room_by_more_than_its_least_symbol(volumes, per_connection):
    roster = Placement(venue(), per_connection)
    roster.refresh(listed(volumes))
    roomy = [place for place in roster.places if len(place.symbols) < roster.capacity]
    for place in roster.places:
        least = min(volumes[symbol] for symbol in place.symbols)
        assert all(place.volume <= other.volume + least + 1.0 for other in roomy)


@given(LISTS.filter(bool), VOLUMES)
def test_a_new_symbol_goes_to_the_least_busy_connection_that_has_headroom(volumes, volume):
    roster = Placement(venue(), 10)
    roster.refresh(listed(volumes))
    loads = [(place.volume, len(place.symbols)) for place in roster.places if len(place.symbols) < roster.capacity]
    before = [(place.volume, len(place.symbols)) for place in roster.places]
    roster.refresh(listed({**volumes, "NEW": volume}))
    number = placed(roster)["NEW"]
    assert before[number] == min(loads or before) and len(roster.places) == len(before)


@pytest.mark.parametrize(("symbols", "newcomers", "connections"), [
    (90, 10, 1), (90, 11, 2), (180, 20, 2), (0, 91, 2), (45, 200, 3)])
def test_new_symbols_use_the_headroom_and_the_rest_gets_new_connections_with_headroom(symbols, newcomers, connections):
    roster = Placement(venue(), 100)
    names = [f"N{number}" for number in range(symbols + newcomers)]
    roster.refresh(listed(dict.fromkeys(names[:symbols], 1.0)))
    roster.refresh(listed(dict.fromkeys(names, 1.0)))
    assert len(roster.places) == connections
    assert all(len(place.symbols) <= (100 if symbols + newcomers == 100 * connections else 90) for place in roster.places)


def test_a_connection_holds_as_many_long_names_as_its_bytes_allow_and_room_for_some_more():
    names = [f"{number:03}{'L' * 97}" for number in range(600)]  # 100 characters, the longest there may be
    roster = Placement(BYBIT[1], per_connection=600)
    roster.refresh(listed(dict.fromkeys(names, 0.0)))
    lengths = [topics_length(place.symbols) for place in roster.places]
    assert max(lengths) <= 0.9 * 21_000 and len(roster.places) == 4
    roster.refresh(listed(dict.fromkeys([*names, *(f"N{name}"[:100] for name in names[:60])], 0.0)))
    assert len(roster.places) == 4
    assert 0.9 * 21_000 < max(topics_length(place.symbols) for place in roster.places) <= 21_000


def test_current_volumes_decide_the_connection_of_new_symbols():
    roster = Placement(venue(), 10)
    names = [f"S{number}" for number in range(12)]
    roster.refresh(listed(dict.fromkeys(names, 1.0)))
    busy = placed(roster)["S0"]
    roster.refresh(listed({**dict.fromkeys(names, 1.0), "S0": 1000.0}))
    roster.refresh(listed({**dict.fromkeys(names, 0.0), "NEW": 1.0}))  # a list without volumes changes nothing
    assert placed(roster)["NEW"] != busy and roster.places[busy].volume > 1000


def test_a_moved_symbol_goes_to_another_connection_and_frees_its_place():
    roster = Placement(venue(), 10)
    roster.refresh(listed(dict.fromkeys("ABC", 1.0)))
    roster.move("A")
    roster.move("NOT THERE")
    assert placed(roster) == {"A": 1, "B": 0, "C": 0}
    roster.refresh(listed(dict.fromkeys("ABCD", 1.0)))
    assert placed(roster)["D"] == 1
