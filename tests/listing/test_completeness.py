"""The completeness of each venue's trades."""

from __future__ import annotations

from dataclasses import replace

from pumpwatch.clock import NS_PER_S
from pumpwatch.listing.completeness import Doubts, symbol_row, touches, venue_rows
from pumpwatch.listing.manifest import MissingSpan, VenueRow
from pumpwatch.model import Gap, GapState
from tests.listing.market import ANNOUNCED_NS, catalogue_of_venues

S = NS_PER_S
CATALOGUE = catalogue_of_venues()
WINDOW = [(ANNOUNCED_NS - 20 * S, ANNOUNCED_NS + 20 * S)]
GAP = Gap(exchange="alpha", market_type="spot", symbol="KITEUSDT", from_ns=ANNOUNCED_NS,
          to_ns=ANNOUNCED_NS + 99 * S, reason="cut")
WHOLE = dict.fromkeys(["alpha.futures", "alpha.spot"], "traded") | {"beta.spot": "no trade", "gamma.spot": "not listed"}


def rows(doubts: Doubts) -> dict[str, VenueRow]:
    counts = {("alpha", "spot"): 5, ("alpha", "futures"): 2}
    return {f"{row.exchange}.{row.market_type}": row for row in venue_rows(CATALOGUE, [0, 1, 2], counts, WINDOW, doubts)}


def states(doubts: Doubts) -> dict[str, str]:
    return {name: row.state for name, row in rows(doubts).items()}


def test_without_a_doubt_each_venue_has_traded_or_not_or_does_not_list_the_coin() -> None:
    assert states(Doubts()) == WHOLE
    found = rows(Doubts())["alpha.futures"]
    assert (found.trades, found.symbols) == (2, (symbol_row(CATALOGUE.instruments[1]),))


def test_a_gap_makes_its_venue_incomplete_with_the_part_inside_the_window() -> None:
    found = rows(Doubts([GAP, GAP]))["alpha.spot"]
    assert (found.state, found.trades) == ("incomplete", 5)
    assert found.missing == (MissingSpan(ANNOUNCED_NS, ANNOUNCED_NS + 20 * S, "cut"),)
    assert states(Doubts([GAP])) == WHOLE | {"alpha.spot": "incomplete"}


def test_a_gap_that_was_filled_or_is_of_other_symbols_or_times_changes_nothing() -> None:
    others = [replace(GAP, state=GapState.FILLED), replace(GAP, symbol="OTHERUSDT"), replace(GAP, from_ns=ANNOUNCED_NS + 20 * S),
              replace(GAP, exchange="gamma", symbol="KRW-KITE")]
    assert states(Doubts(others)) == WHOLE
    assert states(Doubts([replace(GAP, state=GapState.LOST)]))["alpha.spot"] == "incomplete"


def test_a_store_that_could_not_answer_leaves_every_venue_of_the_coin_in_doubt() -> None:
    found = rows(Doubts(problems=["a page is damaged"]))
    assert {name for name, row in found.items() if row.state == "incomplete"} == {"alpha.futures", "alpha.spot", "beta.spot"}
    assert found["beta.spot"].missing == (MissingSpan(*WINDOW[0], "a page is damaged"),)


def test_a_venue_whose_list_has_not_arrived_is_named_although_nothing_is_known_of_it() -> None:
    found = rows(Doubts(unlisted=["delta.futures"]))
    assert found["delta.futures"].state == "incomplete"
    assert found["delta.futures"].missing[0].reason == "no instrument list yet"


def test_a_gap_of_a_whole_venue_touches_and_one_that_ends_before_the_window_does_not() -> None:
    assert touches(replace(GAP, symbol=""), ("alpha", "spot"), ["KITEUSDT"], WINDOW)
    assert not touches(replace(GAP, symbol="", symbols=("OTHERUSDT",)), ("alpha", "spot"), ["KITEUSDT"], WINDOW)
    assert not touches(replace(GAP, from_ns=0, to_ns=WINDOW[0][0]), ("alpha", "spot"), ["KITEUSDT"], WINDOW)
    assert touches(replace(GAP, from_ns=WINDOW[0][0], to_ns=WINDOW[0][0]), ("alpha", "spot"), ["KITEUSDT"], WINDOW)
