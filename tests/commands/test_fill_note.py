"""The result of looking for missing trades, in words."""

from __future__ import annotations

from dataclasses import replace

from pumpwatch.commands.fill_note import as_json, by_gap, fills_of, fills_text
from pumpwatch.model import Gap, GapState
from pumpwatch.records import GapFill

S = 10**9
START = 1_764_252_202 * S  # 2025-11-27T14:03:22Z
GAP = Gap(exchange="binance", market_type="spot", symbol="BTCUSDT", from_ns=START, to_ns=START + 60 * S, reason="cut",
          first_id=1, last_id=9)
FILLED = GapFill(gap=GAP, symbol="BTCUSDT", state=GapState.FILLED, found=1204, missing=0, by="id")
LOST = replace(FILLED, state=GapState.LOST, found=0, missing=310, reason="history reaches 1,000 trades back", lost_from_ns=START,
               lost_to_ns=START + 39 * S + 5)


def test_a_filled_gap_says_how_many_and_by_what() -> None:
    assert fills_text([FILLED]) == "filled 1,204 of 1,204 by id"
    assert fills_text([FILLED, replace(FILLED, found=1, by="overlap")]) == "filled 1,205 of 1,205 by id and overlap"


def test_a_lost_gap_says_how_many_and_why() -> None:
    assert fills_text([LOST]) == "lost 310 trades from 14:03:22 to 14:04:02: history reaches 1,000 trades back"
    assert fills_text([FILLED, LOST, replace(FILLED, state=GapState.OPEN, found=0)]) == (
        "found 1,204; lost 310 trades from 14:03:22 to 14:04:02: history reaches 1,000 trades back; 1 symbol still to do")


def test_an_unknown_number_is_called_so() -> None:
    unknown = replace(LOST, missing=-1, symbol="ETHUSDT", reason="older than backfill.reach_h")
    assert fills_text([unknown]) == ("lost an unknown number of trades of 1 symbol from 14:03:22 to 14:04:02: "
                               "older than backfill.reach_h")
    later = replace(unknown, symbol="C", lost_from_ns=0, lost_to_ns=0, gap=replace(GAP, to_ns=START + 86_400 * S))
    assert fills_text([LOST, unknown, later]) == (
        "lost an unknown number of trades of 2 symbols from 11-27 14:03:22 to 11-28 14:03:22: older than backfill.reach_h; "
        "lost 310 trades from 14:03:22 to 14:04:02: history reaches 1,000 trades back")
    others = [replace(LOST, reason="refused"), replace(LOST, reason="no rows")]
    assert fills_text([LOST, *others]).endswith(": refused; other losses for 1 other reason (--json)")
    assert fills_text([LOST], with_day=True).startswith("lost 310 trades from 11-27 14:03:22 to 11-27 14:04:02")


def test_where_nothing_was_missing_it_says_so() -> None:
    assert fills_text([replace(FILLED, found=0)]) == "nothing was missing, by id"
    assert fills_text([replace(FILLED, found=0)], unfinished=True) == "found 0 so far", "other symbols are still to do"
    assert fills_text([]) == "" and as_json([]) is None


def test_as_data_it_has_numbers_bounds_and_reasons() -> None:
    assert as_json([FILLED, LOST]) == {
        "found": 1204, "missing": 310, "by": ["id"], "reasons": ["history reaches 1,000 trades back"], "lost_from_ns": START,
        "lost_to_ns": START + 39 * S + 5, "symbols_done": 2, "symbols_lost": 1}
    unknown = as_json([replace(LOST, missing=-1)])
    assert unknown is not None and unknown["missing"] == -1


def test_fills_belong_to_the_gap_that_they_name() -> None:
    other = replace(GAP, from_ns=11)
    fills = by_gap([FILLED, replace(FILLED, gap=other, found=7)])
    assert [fill.found for fill in fills_of([other], fills)] == [7]
