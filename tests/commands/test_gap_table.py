"""Gaps: an outage is one row, a gap one line."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pumpwatch.commands.fill_note import by_gap
from pumpwatch.commands.gap_table import GAPS, OUTAGES, gap_rows, outage_rows
from pumpwatch.commands.outages import outages
from pumpwatch.commands.table import render
from pumpwatch.model import Gap, GapState
from pumpwatch.records import GapFill
from tests.commands.rendered import check_lines

S = 10**9
START = 1_764_252_202 * S  # 2025-11-27T14:03:22Z
GAP = Gap(exchange="binance", market_type="spot", symbol="", from_ns=START, to_ns=START + 120 * S, first_id=None, last_id=None,
          reason="not running")
EXCHANGES = ("binance", "bybit", "gate", "kucoin", "okx", "phemex")
DOWN = [replace(GAP, exchange=exchange, market_type=market_type, from_ns=START + number * S // 10)
        for exchange in EXCHANGES for number, market_type in enumerate(("spot", "futures"))]
JUMPS = [replace(GAP, exchange="okx", symbol=symbol, from_ns=START + 200 * S, to_ns=START + 201 * S, first_id=first,
                 last_id=first + 5, reason=f"ids jump from {first - 1} to {first + 5}")
         for symbol, first in (("BTC-USDT", 338_476_459), ("ETH-USDT", 7))]
LOST = replace(GAP, exchange="okx", market_type="futures", from_ns=START + 300 * S, to_ns=START + 303 * S,
               symbols=("BTC-USDT-SWAP", "ETH-USDT-SWAP"), reason="connection 3 with 2 symbols: connection reset by peer")


def test_an_outage_of_all_venues_is_one_row_at_80_columns() -> None:
    lines = render(OUTAGES, outage_rows(outages(DOWN), {(gap.exchange, gap.market_type): 8 for gap in DOWN}.__getitem__), 80)
    assert lines == ["from                 lasted  venues     symbols     state  reason",
                     "2025-11-27 14:03:22   2 min  12 venues  96 symbols  open   not running"]


def test_the_states_of_an_outage_and_what_is_lost_of_it_are_below_its_row() -> None:
    lost = replace(DOWN[0], state=GapState.LOST)
    fills = by_gap([GapFill(gap=lost, symbol=symbol, state=GapState.LOST, found=0, missing=-1, by="nothing",
                            reason="history reaches 100 trades back", lost_from_ns=START, lost_to_ns=START + 9 * S + 1)
                    for symbol in ("A", "B")])
    text = " ".join(check_lines(render(OUTAGES, outage_rows(outages([lost, replace(DOWN[1], state=GapState.FILLED)]),
                                                            lambda venue: 8, fills), 80), 80).split())
    assert ("lost not running gaps: 1 lost, 1 filled; lost an unknown number of trades of 2 symbols from 14:03:22 to 14:03:32: "
            "history reaches 100 trades back") in text


def test_what_gaps_of_one_kind_have_in_common_is_their_reason() -> None:
    rows = outage_rows(outages([*JUMPS, LOST]), lambda venue: 0)
    text = check_lines(render(OUTAGES, rows, 60), 60)
    assert "ids jump from … to …" in text and "connection reset by" in text
    assert "okx.s" in text and "okx.f" in text


def test_the_symbols_of_whole_venues_are_counted_where_they_are_known() -> None:
    both = [DOWN[0], replace(DOWN[0], symbol="BTCUSDT")]  # of a venue that is missing as a whole
    line = render(OUTAGES, outage_rows(outages(both), lambda venue: 450), 120)[1]
    assert line.split("  ")[2:4] == ["binance.spot", "450 symbols"]
    assert "all" in render(OUTAGES, outage_rows(outages(both), lambda venue: 0), 120)[1]


@pytest.mark.parametrize(("width", "lines_of_jump"), [
    (80, ["ids jump from 338476458 to", "338476464"]), (140, ["ids jump from 338476458 to 338476464"])])
def test_a_gap_is_one_line_unless_its_reason_goes_on_below(width: int, lines_of_jump: list[str]) -> None:
    gaps = [*DOWN, *JUMPS, LOST]
    lines = render(GAPS, gap_rows(gaps), width)
    text = check_lines(lines, width)
    assert len(lines) == len(gaps) + len(lines_of_jump)
    jump = next(number for number, line in enumerate(lines) if "BTC-USDT" in line)
    column = lines[0].index("reason")
    assert [line[column:] for line in lines[jump:jump + len(lines_of_jump)]] == lines_of_jump
    assert ("338476459 to 338476464" in text) == (width == 140)
    assert "2 symbols" in text and "BTC-USDT" in text and "all" in text


def test_gaps_of_several_days_have_the_day_in_each_row() -> None:
    rows = gap_rows([GAP, replace(GAP, from_ns=START + 86_400 * S)])
    assert [row[0].short for row in rows if not isinstance(row[0], str)] == ["11-27 14:03:22", "11-28 14:03:22"]
