"""Which symbol goes on which connection."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest
from pumpwatch_plugins.exchanges.binance import VENUES

from pumpwatch.errors import ServiceUnavailable
from pumpwatch.feeds.roster import AGREED, Roster, fetch_instruments
from pumpwatch.model import HttpRequest, Instrument, Venue, Volumes


def venue(**limits) -> Venue:
    return dataclasses.replace(VENUES[0], limits=dataclasses.replace(VENUES[0].limits, **limits))


def listed(*symbols: str, volume: float = 0.0) -> list[Instrument]:
    return [Instrument(symbol=symbol, base=symbol, quote="USDT", volume=volume) for symbol in symbols]


def where(roster: Roster) -> dict[str, int]:
    return {symbol: number for number, place in enumerate(roster.places) for symbol in place.symbols}


def test_symbols_are_spread_evenly_within_the_limit():
    roster = Roster(venue(), per_connection=10)
    roster.refresh(listed(*(f"S{i}" for i in range(25))))
    assert sorted(len(place.symbols) for place in roster.places) == [8, 8, 9]


@pytest.mark.parametrize(("per_second", "connections"), [(5.0, 9), (0.3, 4)])
def test_where_connecting_is_slow_connections_are_fewer_and_fuller(per_second, connections):
    roster = Roster(venue(symbols_per_connection=300, connects_per_second=per_second))
    roster.refresh(listed(*(f"S{i}" for i in range(850))))
    assert len(roster.places) == connections
    assert max(len(place.symbols) for place in roster.places) <= 270


def test_a_refresh_moves_nobody():
    roster = Roster(venue(), per_connection=3)
    roster.refresh(listed("A", "B", "C", "D", "E"))
    before = where(roster)
    came, gone = roster.refresh(listed("A", "B", "C", "D", "F", "E"))
    assert (came, gone) == ({"F"}, set())
    assert {symbol: number for symbol, number in where(roster).items() if symbol != "F"} == before


def test_what_is_no_longer_listed_is_dropped():
    roster = Roster(venue())
    roster.refresh(listed(*(f"S{i}" for i in range(10))))
    came, gone = roster.refresh(listed(*(f"S{i}" for i in range(9))))
    assert (came, gone) == (set(), {"S9"}) and "S9" not in roster


def test_an_empty_or_shrunken_list_drops_nothing():
    roster = Roster(venue())
    roster.refresh(listed(*(f"S{i}" for i in range(10))))
    for broken in ([], listed("S0"), listed("NEW")):
        _, gone = roster.refresh(broken)
        assert gone == set()
    assert len(roster) == 11


def test_a_list_that_stays_shorter_is_believed_in_the_end_but_for_what_trades():
    roster = Roster(venue())
    everything = listed(*(f"S{i}" for i in range(10)))
    for _ in range(2):  # the first time it was broken after all
        roster.refresh(everything)
        for _ in range(AGREED - 1):
            assert roster.refresh(everything[:6])[1] == set() and len(roster.kept) == 4
    assert roster.refresh([*everything[:6], *listed("NEW")], lambda symbol: symbol == "S7")[1] == {"S6", "S8", "S9"}
    assert roster.kept == {"S7"}


@pytest.mark.parametrize("drops", [False, True])
def test_where_a_venue_drops_no_symbol_one_that_comes_back_is_read_where_it_was(drops):
    roster = Roster(dataclasses.replace(venue(), drops=drops), per_connection=20)
    everything = [Instrument(symbol=f"S{i}", base="S", quote="USDT", volume=float(i)) for i in range(36)]
    roster.refresh(everything)
    was = where(roster)["S0"]
    roster.refresh([*everything[1:], *listed("N1", "N2")])
    roster.places[was].volume += 1000.0  # every newcomer would go elsewhere
    roster.refresh([*everything, *listed("N1", "N2", "N3")])
    assert (where(roster)["S0"] == was) is not drops and where(roster)["N3"] != was


def test_no_list_drops_what_trades():
    roster = Roster(venue())
    roster.refresh(listed(*(f"S{i}" for i in range(10))))
    without = listed(*(f"S{i}" for i in range(1, 10)))
    assert roster.refresh(without, lambda symbol: symbol == "S0") == (set(), set()) and roster.kept == {"S0"}
    assert roster.refresh(without) == (set(), {"S0"}) and not roster.kept


def test_the_busiest_symbols_do_not_share_a_connection_without_need():
    roster = Roster(venue(), per_connection=3)
    busy = [Instrument(symbol=f"B{i}", base="B", quote="USDT", volume=1000.0) for i in range(3)]
    roster.refresh(listed("A", "C", "D", "E", "F", "G", volume=1.0) + busy)
    assert len({where(roster)[one.symbol] for one in busy}) == 3


def listing(*symbols: object) -> bytes:
    rows = [{"symbol": symbol, "baseAsset": "BTC", "quoteAsset": "USDT", "status": "TRADING"} for symbol in symbols]
    return json.dumps({"symbols": rows}).encode()


def test_rows_that_cannot_be_instruments_are_left_out_and_told():
    told: list[str] = []
    body = listing("BTCUSDT", None, 7, "", "A\x00B", "S" * 200, "A/B", "币安人生USDT", "BTCUSDT")
    found = fetch_instruments(VENUES[0], lambda request: body, told.append)
    assert [one.symbol for one in found] == ["BTCUSDT", "A/B", "币安人生USDT"]
    assert len(told) == 5 and "symbol=None" in told[0]


@pytest.mark.parametrize("body", [listing(), listing(None, 7), b"", b"[]", b"null", b"<html>\n<b>busy</b>", listing("A")[:40]])
def test_what_is_no_list_of_instruments_is_refused_in_one_line(body):
    with pytest.raises(ServiceUnavailable) as caught:
        fetch_instruments(VENUES[0], lambda request: body)
    assert caught.value.message.isprintable() and "instrument list" in caught.value.message


@pytest.mark.parametrize("fact", [{"contract_size": 0.0}, {"contract_size": math.inf}, {"price_divisor": math.nan},
                                  {"volume": -1.0}, {"contract_size": None}, {"base": ""}, {"quote": None}])
def test_an_instrument_that_would_spoil_its_trades_is_left_out(fact):
    good = Instrument(symbol="A", base="A", quote="USDT")
    venue = dataclasses.replace(VENUES[0], parse_instruments=lambda bodies: [good, dataclasses.replace(good, symbol="B", **fact)])
    assert fetch_instruments(venue, lambda request: b"") == [good]


VOLUMES = Volumes(HttpRequest("/volumes"), json.loads)


def answering(volumes: object):
    """Return what asks a venue that answers the request for volumes with this, or not at all."""
    def ask(request: HttpRequest) -> bytes:
        if request.path != "/volumes":
            return listing("BTCUSDT", "ETHUSDT", "SOLUSDT")
        if isinstance(volumes, Exception):
            raise volumes
        return json.dumps(volumes).encode()

    return ask


def test_volumes_are_asked_for_with_the_list_and_what_cannot_be_one_is_none():
    troubles: list[str] = []
    pages: list[bytes] = []
    venue_with_volumes = dataclasses.replace(VENUES[0], volumes=VOLUMES)
    body = {"BTCUSDT": 12.5, "ETHUSDT": -1, "SOLUSDT": math.nan, "OTHER": 3.0}
    found = fetch_instruments(venue_with_volumes, answering(body), on_volumes=troubles.append, pages=pages)
    assert pages == [listing("BTCUSDT", "ETHUSDT", "SOLUSDT")]
    assert [(one.symbol, one.volume) for one in found] == [("BTCUSDT", 12.5), ("ETHUSDT", 0.0), ("SOLUSDT", 0.0)]
    assert troubles == [""]


@pytest.mark.parametrize("answer", [ServiceUnavailable("HTTP 500"), "text", [1], None, {"BTCUSDT": "x"}])
def test_without_volumes_the_list_holds(answer):
    troubles: list[str] = []
    venue_with_volumes = dataclasses.replace(VENUES[0], volumes=VOLUMES)
    found = fetch_instruments(venue_with_volumes, answering(answer), on_volumes=troubles.append)
    assert [(one.symbol, one.volume) for one in found] == [("BTCUSDT", 0.0), ("ETHUSDT", 0.0), ("SOLUSDT", 0.0)]
    assert len(troubles) == 1 and (troubles[0] or isinstance(answer, dict))
