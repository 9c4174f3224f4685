"""Symbols are spread over the connections of a venue, and stay where they are."""

from __future__ import annotations

import dataclasses

import pytest
from pumpwatch_plugins.exchanges.binance import VENUES

from pumpwatch.feeds.placement import AGREED, DROPPED_AFTER, Placement
from pumpwatch.model import Instrument
from pumpwatch.venue import Venue


def venue(**limits) -> Venue:
    return dataclasses.replace(VENUES[0], limits=dataclasses.replace(VENUES[0].limits, **limits))


def listed(*symbols: str, volume: float = 0.0) -> list[Instrument]:
    return [Instrument(symbol=symbol, base=symbol, quote="USDT", volume=volume) for symbol in symbols]


def where(roster: Placement) -> dict[str, int]:
    return {symbol: number for number, place in enumerate(roster.places) for symbol in place.symbols}


def test_symbols_are_spread_evenly_within_the_limit():
    roster = Placement(venue(), per_connection=10)
    roster.refresh(listed(*(f"S{i}" for i in range(25))))
    assert sorted(len(place.symbols) for place in roster.places) == [8, 8, 9]


@pytest.mark.parametrize(("per_second", "connections"), [(5.0, 9), (0.3, 4)])
def test_slow_connecting_makes_connections_fewer_and_fuller(per_second, connections):
    roster = Placement(venue(symbols_per_connection=300, connects_per_second=per_second))
    roster.refresh(listed(*(f"S{i}" for i in range(850))))
    assert len(roster.places) == connections
    assert max(len(place.symbols) for place in roster.places) <= 270


def test_a_refresh_moves_no_symbol():
    roster = Placement(venue(), per_connection=3)
    roster.refresh(listed("A", "B", "C", "D", "E"))
    before = where(roster)
    came, gone = roster.refresh(listed("A", "B", "C", "D", "F", "E"))
    assert (came, gone) == ({"F"}, set())
    assert {symbol: number for symbol, number in where(roster).items() if symbol != "F"} == before


def test_delisted_symbols_are_dropped():
    roster = Placement(venue())
    everything = listed(*(f"S{i}" for i in range(10)))
    roster.refresh(everything)
    for _ in range(DROPPED_AFTER - 1):
        assert roster.refresh(everything[:9]) == (set(), set()) and roster.leaving == {"S9"}
    assert roster.refresh(everything) == (set(), set()) and not roster.leaving  # it was a mistake
    for _ in range(DROPPED_AFTER - 1):
        assert roster.refresh(everything[:9]) == (set(), set())
    assert roster.refresh(everything[:9]) == (set(), {"S9"}) and "S9" not in roster and not roster.leaving


def test_an_empty_or_shrunken_list_drops_nothing():
    roster = Placement(venue())
    roster.refresh(listed(*(f"S{i}" for i in range(10))))
    for broken in ([], listed("S0"), listed("NEW")):
        _, gone = roster.refresh(broken)
        assert gone == set()
    assert len(roster) == 11


def test_a_list_that_stays_shorter_is_finally_believed_except_for_trading_symbols():
    roster = Placement(venue())
    everything = listed(*(f"S{i}" for i in range(10)))
    for _ in range(2):  # the first time it was broken after all
        roster.refresh(everything)
        for _ in range(AGREED - 1):
            assert roster.refresh(everything[:6])[1] == set() and len(roster.kept) == 4
    assert roster.refresh([*everything[:6], *listed("NEW")], lambda symbol: symbol == "S7")[1] == {"S6", "S8", "S9"}
    assert roster.kept == {"S7"}


@pytest.mark.parametrize("drops", [False, True])
def test_without_unsubscribing_a_symbol_that_returns_is_read_on_its_old_connection(drops):
    roster = Placement(dataclasses.replace(venue(), drops=drops), per_connection=20)
    everything = [Instrument(symbol=f"S{i}", base="S", quote="USDT", volume=float(i)) for i in range(36)]
    roster.refresh(everything)
    was = where(roster)["S0"]
    for _ in range(DROPPED_AFTER - 1):
        roster.refresh(everything[1:])
    roster.refresh([*everything[1:], *listed("N1", "N2")])
    roster.places[was].volume += 1000.0  # every newcomer would go elsewhere
    roster.refresh([*everything, *listed("N1", "N2", "N3")])
    assert (where(roster)["S0"] == was) is not drops and where(roster)["N3"] != was


def test_no_list_drops_a_trading_symbol():
    roster = Placement(venue())
    roster.refresh(listed(*(f"S{i}" for i in range(10))))
    without = listed(*(f"S{i}" for i in range(1, 10)))
    for _ in range(2 * DROPPED_AFTER):
        assert roster.refresh(without, lambda symbol: symbol == "S0") == (set(), set()) and roster.kept == {"S0"}
    assert roster.refresh(without) == (set(), {"S0"}) and not roster.kept


def test_the_busiest_symbols_do_not_share_a_connection_without_need():
    roster = Placement(venue(), per_connection=3)
    busy = [Instrument(symbol=f"B{i}", base="B", quote="USDT", volume=1000.0) for i in range(3)]
    roster.refresh(listed("A", "C", "D", "E", "F", "G", volume=1.0) + busy)
    assert len({where(roster)[one.symbol] for one in busy}) == 3
