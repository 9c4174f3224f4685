"""The result of looking for missing trades, in words."""

from __future__ import annotations

from dataclasses import replace

from pumpwatch.commands.fill_note import as_json, by_gap, fills_of, note
from pumpwatch.model import Gap, GapState
from pumpwatch.records import GapFill

GAP = Gap(exchange="binance", market_type="spot", symbol="BTCUSDT", from_ns=10, to_ns=20, reason="cut", first_id=1, last_id=9)
FILLED = GapFill(gap=GAP, symbol="BTCUSDT", state=GapState.FILLED, found=1204, missing=0, by="id")
LOST = replace(FILLED, state=GapState.LOST, found=0, missing=310, reason="history reaches 1,000 trades back", lost_from_ns=12,
               lost_to_ns=15)


def test_a_filled_gap_says_how_many_and_by_what() -> None:
    assert note([FILLED]) == "filled 1,204 of 1,204 by id"
    assert note([FILLED, replace(FILLED, found=1, by="overlap")]) == "filled 1,205 of 1,205 by id and overlap"


def test_a_lost_gap_says_how_many_and_why() -> None:
    assert note([LOST]) == "lost 310, history reaches 1,000 trades back"
    assert note([FILLED, LOST]) == "found 1,204, lost 310, history reaches 1,000 trades back"


def test_an_unknown_number_is_called_so() -> None:
    unknown = replace(LOST, missing=-1, symbol="ETHUSDT", reason="older than backfill.reach_h")
    assert note([unknown]) == "lost an unknown number of 1 symbol, older than backfill.reach_h"
    assert note([LOST, unknown, replace(unknown, symbol="C")]) == (
        "lost 310, lost an unknown number of 2 symbols, older than backfill.reach_h, and other reasons")


def test_where_nothing_was_missing_it_says_so() -> None:
    assert note([replace(FILLED, found=0)]) == "nothing was missing, by id"
    assert note([]) == "" and as_json([]) is None


def test_as_data_it_has_numbers_bounds_and_reasons() -> None:
    assert as_json([FILLED, LOST]) == {
        "found": 1204, "missing": 310, "by": ["id"], "reasons": ["history reaches 1,000 trades back"], "lost_from_ns": 12,
        "lost_to_ns": 15, "symbols_done": 2, "symbols_lost": 1}
    unknown = as_json([replace(LOST, missing=-1)])
    assert unknown is not None and unknown["missing"] == -1


def test_fills_belong_to_the_gap_that_they_name() -> None:
    other = replace(GAP, from_ns=11)
    fills = by_gap([FILLED, replace(FILLED, gap=other, found=7)])
    assert [fill.found for fill in fills_of([other], fills)] == [7]
