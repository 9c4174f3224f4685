"""Bithumb's notices and markets as servers, read by its own source."""

from __future__ import annotations

import json

import pytest
from pumpwatch_plugins.simulators.bithumb import (
    NOTICES,
    body,
    notices,
    seed,
    simulator_dialects,
    title,
)
from pumpwatch_plugins.sources.bithumb import parse, verdict

from pumpwatch import Coin, HttpCall, HttpReply, Notice
from tests.sim.posts import Posts

NOW_NS = 1_790_000_030 * 10**9
SOMI = Coin("SOMI", 0.8, "솜니아")


def get(path: str = NOTICES, **query: str) -> HttpReply:
    call = HttpCall("GET", path, query, {}, b"", NOW_NS)
    return notices(call, Posts(seed(NOW_NS, [SOMI])))


def test_the_source_reads_what_the_board_answers() -> None:
    rows = parse(get(count="20").body)
    found = [row for row in rows if isinstance(row, Notice)]
    assert len(found) == len(rows) >= 5 and found[0].notice_id == "1654573"
    assert all(notice.published_at_ns % (60 * 10**9) == 0 and notice.published_at_ns <= NOW_NS for notice in found)
    assert {verdict(notice.title).kind for notice in found} >= {"krw_listing", "delisting", "warning", "maintenance", "other"}


def test_a_listing_is_worded_so_that_the_source_knows_it() -> None:
    worded = title(SOMI, ["KRW", "BTC", "USDT"], False)
    assert worded == "솜니아(SOMI) 원화, BTC 마켓 추가" and verdict(worded).symbols == ("SOMI",)
    assert verdict(title(SOMI, ["USDT"], False)).symbols == ()
    assert "SOMI" in body(SOMI, ["KRW"], NOW_NS)


def test_the_count_is_bounded_and_another_path_is_not_found() -> None:
    assert len(json.loads(get().body)) == 5
    assert [get(count=count).status for count in ("0", "21", "x")] == [400] * 3
    assert get("/other").status == 404


def test_both_boards_are_offered() -> None:
    assert [board.name for board in simulator_dialects()] == ["bithumb", "bithumb_markets"]


@pytest.mark.parametrize("posts", [0, 3])
def test_a_board_answers_as_many_notices_as_it_has(posts: int) -> None:
    call = HttpCall("GET", NOTICES, {"count": "20"}, {}, b"", NOW_NS)
    assert len(json.loads(notices(call, Posts(seed(NOW_NS, [])[:posts])).body)) == posts
