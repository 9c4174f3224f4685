"""Listings in a terminal: who moved first, by how much and when."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pumpwatch.catalogue import Catalogue
from pumpwatch.commands.listing_view import LISTINGS, analysis_lines, listing_lines, listing_rows
from pumpwatch.commands.table import render
from pumpwatch.listing.analysis import analyse
from pumpwatch.model import TradeBatch
from tests.commands.rendered import check_lines
from tests.listing.market import ANNOUNCED_NS, catalogue_of_venues, trades

CATALOGUE: Catalogue = catalogue_of_venues()


def analysis(*moves: tuple[int, float | None]) -> dict[str, Any]:
    """Return the analysis of instruments that each jump so many ms after the announcement."""
    batch = TradeBatch.concat([trades(number, jump_ms=jump_ms) for number, jump_ms in moves])
    return analyse(batch.take(np.argsort(batch.timestamp, kind="stable")), CATALOGUE, [number for number, _ in moves],
                   ANNOUNCED_NS, ANNOUNCED_NS + 3 * 10**9)


MOVED = analysis((0, 900.0), (1, 400.0), (2, None))


def row(**changes: Any) -> dict[str, Any]:
    return {"id": "upbit:6642", "coin": "KITE", "title": "카이트(KITE) 신규 거래지원 안내",
            "announced_at": "2026-11-03T06:00:00.000000Z",
            "detected_at": "2026-11-03T06:00:03.000000Z", "late": False, "drill": False, "state": "written", "problem": "",
            "trades": 4200,
            "archive": "/data/KITE_20261103T060000Z", "final": False, "final_at": None, "analysis": MOVED,
            "kind": "notice", "delay_ms": 3000.0, "sights": [sight()],
            "first_mover": "alpha.futures", "peak_percent": 25.1, "incomplete": [], **changes}


def sight(**changes: Any) -> dict[str, Any]:
    return {"source": "upbit", "notice_id": "6642", "kind": "notice", "seen_at": "2026-11-03T06:00:03.000000Z", "behind_ms": 0.0,
            "title": "t", "edits": 0, "edited_at": None, **changes}


@pytest.mark.parametrize("width", [80, 120])
def test_the_first_market_to_move_comes_first_with_its_change_and_time(width: int) -> None:
    lines = analysis_lines(MOVED, width)
    text = check_lines(lines, width)
    first = " ".join(text.split())
    assert first.startswith("first to move: alpha.futures 1000KITEUSDT, +")
    assert " % at 06:00:00." in first and " ms after the announcement" in first
    table = lines[next(number for number, line in enumerate(lines) if "symbol" in line) + 1:]
    assert [line.split("  ")[-1] for line in table] != [] and len(table) == 3
    assert "1000KITEUSDT" in table[0] and "KITEUSDT" in table[1] and "KITE-USDT" in table[2]
    assert table[2].split()[0] == "-"


def test_a_calm_window_says_so() -> None:
    calm = analysis((2, None))
    assert analysis_lines(calm, 80)[0] == "no market moved: no trade was abnormal"


@pytest.mark.parametrize("width", [80, 120])
def test_one_listing_is_its_notice_its_archive_and_its_markets(width: int) -> None:
    text = check_lines(listing_lines(row(), width), width)
    assert "KITE, listing upbit:6642, announced 2026-11-03T06:00:00" in text
    assert "4,200 trades, not final: a running collector adds late trades" in text and "first to move" in text


@pytest.mark.parametrize(("changes", "says"), [
    ({"state": "open", "analysis": None}, "its archive is written when it ends"),
    ({"state": "missing", "analysis": None}, "the archive was removed: /data/KITE"),
    ({"state": "problem", "problem": "no venue lists it", "analysis": None}, "problem: no venue lists it"),
    ({"final": True, "final_at": "2026-11-03T06:10:20Z"}, "4,200 trades, final at 2026-11-03T06:10:20Z"),
    ({"late": True}, "(late)"), ({"drill": True}, "KITE, drill, listing upbit:6642")])
def test_the_state_of_a_listing_is_a_sentence(changes: dict[str, Any], says: str) -> None:
    assert says in " ".join(" ".join(listing_lines(row(**changes), 80)).split())


@pytest.mark.parametrize(("changes", "says"), [
    ({}, "its notice seen by upbit 3.0 s after its publication"),
    ({"sights": [sight(), sight(source="upbit_markets", kind="market_opened", behind_ms=5_040_000.0)]},
     "its market seen open by upbit_markets 1 h 24 min behind the first"),
    ({"kind": "market_opened", "delay_ms": 0.0, "sights": [sight(source="upbit_markets", kind="market_opened")]},
     "its market seen open by upbit_markets 4,200 trades"),
    ({"sights": [sight(edits=2, title="(거래지원 취소 안내)")]}, "; edited 2 times, last seen as: (거래지원 취소 안내)")])
def test_each_sight_is_a_sentence_with_its_delay(changes: dict[str, Any], says: str) -> None:
    assert says in " ".join(" ".join(listing_lines(row(**changes), 80)).split())


def test_all_listings_are_a_line_each_at_80_columns_with_a_problem_below() -> None:
    rows = listing_rows([row(), row(coin="NOPE", state="problem", problem="no venue lists it", archive="", trades=0, final=None,
                                        first_mover=None, peak_percent=None, incomplete=None)])
    assert render(LISTINGS, rows, 80) == [
        "coin  announced, UTC  listing     first mover        peak  complete  state",
        "KITE  11-03 06:00:00  upbit:6642  alpha.futures  +25.10 %  yes       written",
        "NOPE  11-03 06:00:00  upbit:6642  -                     -  -         problem",
        "  no venue lists it"]


def test_at_150_columns_the_delay_and_the_archive_are_named_as_well() -> None:
    lines = render(LISTINGS, listing_rows([row(final=True, final_at="2026-11-03T06:10:20Z")]), 150)
    check_lines(lines, 150)
    assert Path(row()["archive"]).name in lines[1]
    assert " +3.000 s " in lines[1]


def test_venues_that_may_lack_trades_are_counted_or_named() -> None:
    rows = listing_rows([row(incomplete=["alpha.spot", "beta.spot"])])
    assert "not 2 venues" in render(LISTINGS, rows, 120)[1]
    assert "not alpha.spot, beta.spot" in render(LISTINGS, rows, 200)[1]


def test_a_drill_is_marked_in_the_table() -> None:
    assert [cells[7] for cells in listing_rows([row(drill=True), row()])] == ["written, drill", "written"]


def test_the_members_of_an_archive_are_named_and_those_whose_part_is_missing() -> None:
    from pumpwatch.commands.listing_view import member_lines

    merged = {"member": "a", "state": "merged", "trades": 5000, "reason": ""}
    missing = {"member": "b", "state": "missing", "trades": 0, "reason": "it has not given its part"}
    alone = {"member": "b", "state": "alone", "trades": 7, "reason": "a joins the parts of all members"}
    assert member_lines({"made_by": "a", "members": [merged, missing]}, 80) == [
        "joined by a from the parts of a (5,000)", "part of b is missing: it has not given its part"]
    assert member_lines({"made_by": "b", "members": [alone]}, 80) == ["part of b alone: a joins the parts of all members"]
    assert member_lines({"members": []}, 80) == []
