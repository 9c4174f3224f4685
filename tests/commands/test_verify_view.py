"""The result of a verification as a person and a script read it, at every width."""

from __future__ import annotations

from collections import Counter

import pytest

from pumpwatch.commands import verify_view as view
from pumpwatch.commands.table import render
from pumpwatch.ops.candle_check import CandleSum
from pumpwatch.ops.completeness import Contradiction, Summary, VenueSum
from pumpwatch.ops.minute_states import State
from pumpwatch.ops.sink_minutes import SinkSum
from pumpwatch.ops.verify_run import Verified
from pumpwatch.store.minutes import MINUTE_NS
from tests.commands.rendered import check_lines

START_NS = 1_795_000_020 * 10**9
FLAW = Contradiction("hole", "binance", "futures", "1000PEPEUSDT", START_NS, START_NS + MINUTE_NS,
                     "3 trades, ids 7 to 9, are not stored")


@pytest.fixture
def found() -> Verified:
    summary = Summary({})
    summary.venues["binance", "futures"] = VenueSum(
        "binance", "futures", "id", Counter({State.COMPLETE: 640_000, State.FILLED: 1_200, State.GAP: 35, State.QUIET: 6_765}),
        123_456_789, {"A", "B"}, Counter({"connection 3 with 100 symbols: no data for 30 s": 30, "not running": 5}),
        Counter({"1000PEPEUSDT": 20, "BTCUSDT": 10, "ETHUSDT": 3, "XRPUSDT": 2}))
    summary.venues["okx", "spot"] = VenueSum("okx", "spot", "id", Counter({State.COMPLETE: 10, State.UNREAD: 5}), 77, {"C"})
    summary.flaws = [FLAW]
    return Verified(START_NS, START_NS + 1440 * MINUTE_NS, summary)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_every_table_fits(found: Verified, width: int) -> None:
    candles = CandleSum("binance", "futures", 0.001, "block trades", 20, 28_800, 28_790, 4, 3, 100,
                        ["A: a candle is in the future"], ["B: no answer"], "", [FLAW])
    for columns, rows in ((view.VENUES, view.venue_rows(list(found.summary.venues.values()))),
                          (view.SINKS, view.sink_rows([SinkSum("questdb", 640_000, 123_456_789, [FLAW], 12, "it is away")])),
                          (view.CANDLES, view.candle_rows([candles])), (view.FLAWS, view.flaw_rows([FLAW]))):
        check_lines(render(columns, rows, width), width)


def test_a_venue_with_gaps_names_its_worst_symbols_and_its_reasons(found: Verified) -> None:
    lines = render(view.VENUES, view.venue_rows(list(found.summary.venues.values())), 80)
    assert "640k" in lines[1] or "640,000" in lines[1]
    assert lines[2:5] == ["  worst: 1000PEPEUSDT 20 min, BTCUSDT 10 min, ETHUSDT 3 min and 1 other",
                          "  30 min: connection 3 with 100 symbols: no data for 30 s", "  5 min: not running"]


def test_the_verdict_is_one_line_and_never_rounds_a_gap_away(found: Verified) -> None:
    assert view.verdict(found) == ("99.995 % of 648,010 minutes of symbols are complete, filled or quiet, "
                                   "35 are in gaps; 1 contradiction")
    found.summary.venues["binance", "futures"].minutes = Counter({State.COMPLETE: 10**8, State.GAP: 1})
    assert view.verdict(found).startswith("99.999 % of")


def test_terms_that_occur_are_explained_and_so_is_the_end_of_the_judged_time(found: Verified) -> None:
    lines = view.explanations(found, found.end_ns + MINUTE_NS + 1)
    assert [line.partition(":")[0] for line in lines] == ["judged until 11", "unread", "proof id"]
    assert lines[0] == ("judged until 11:07:00: a minute is judged 2 minutes after its end, because a dead connection "
                        "is noticed late")
    found.summary.venues = {("bybit", "spot"): VenueSum("bybit", "spot", "connection", Counter({State.COMPLETE: 3}), 5, {"A"})}
    (line,) = view.explanations(found, found.end_ns + MINUTE_NS - 1)
    assert line.startswith("proof connection: ") and "`--against venue` compares" in line


def test_json_has_stable_keys(found: Verified) -> None:
    found.sinks = [SinkSum("questdb", 10, 100)]
    found.candles = [CandleSum("okx", "spot")]
    rows = list(view.as_json(found, False))
    assert [row["kind"] for row in rows] == ["window", "venue", "venue", "sink", "candles", "contradiction"]
    assert list(rows[1]) == ["kind", "exchange", "market_type", "proof", "symbols", "minutes", "trades", "worst", "reasons"]
    assert rows[1]["minutes"] == {"quiet": 6765, "complete": 640_000, "filled": 1200, "gap": 35, "unread": 0}
    assert rows[5] == {"kind": "contradiction", "what": "hole", "exchange": "binance", "market_type": "futures",
                       "symbol": "1000PEPEUSDT", "from_ns": START_NS, "to_ns": START_NS + MINUTE_NS, "detail": FLAW.detail}


def test_what_contradicts_is_told_from_what_is_only_a_gap(found: Verified) -> None:
    assert found.contradicted
    found.summary.flaws = []
    assert not found.contradicted
    for change in ({"sinks": [SinkSum("q", problem="away")]}, {"unreadable": ["a file"]},
                   {"candles": [CandleSum("okx", "spot", refused=["A: damaged"])]}):
        for name, value in change.items():
            assert Verified(0, 1, Summary({}), **{name: value}).contradicted
