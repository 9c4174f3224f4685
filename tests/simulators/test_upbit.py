"""Upbit's notice list as a server: order, pages, edits, badges, cached answers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pumpwatch_plugins.simulators.upbit import (
    PATH,
    TRADE,
    body,
    rest,
    seed,
    simulator_dialects,
    title,
)

from pumpwatch import Coin, HttpCall, HttpReply
from tests.sim.posts import Posts

NOW_NS = 1_790_000_000 * 10**9
SOMI = Coin("SOMI", 0.8, "솜니아")


def get(path: str = PATH, tag: str = "", **query: str) -> HttpReply:
    headers = {"if-none-match": tag} if tag else {}
    return rest(HttpCall("GET", path, query, headers, b"", NOW_NS), Posts(seed(NOW_NS, [SOMI])))


def rows(answer: HttpReply) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(answer.body)["data"]["notices"]
    return found


def test_rows_are_sorted_by_their_last_edit_and_the_pinned_one_comes_separately() -> None:
    data = json.loads(get(per_page="30").body)["data"]
    edits = [row["listed_at"] for row in data["notices"]]
    assert edits == sorted(edits, reverse=True)
    assert [row["id"] for row in data["fixed_notices"]] == [2895]
    assert any(row["listed_at"] != row["first_listed_at"] for row in data["notices"])


def test_a_category_holds_only_its_own_notices() -> None:
    assert {row["category"] for row in rows(get(category="trade"))} == {TRADE}
    assert len({row["category"] for row in rows(get(category="all"))}) > 1


def test_pages_follow_one_another_and_those_beyond_the_posts_are_empty() -> None:
    first, second = rows(get(page="1", per_page="5")), rows(get(page="2", per_page="5"))
    assert [row["id"] for row in first + second] == [row["id"] for row in rows(get(per_page="10"))]
    assert rows(get(page="200", per_page="30")) == []


@pytest.mark.parametrize("query", [{"per_page": "31"}, {"per_page": "0"}, {"per_page": "x"}, {"page": "0"}])
def test_a_bad_page_is_a_bad_request(query: dict[str, str]) -> None:
    assert get(**query).status == 400


def test_an_unchanged_answer_is_304_and_a_detail_is_found_by_its_uuid_only() -> None:
    answer = get()
    assert get(tag=answer.headers["ETag"]).status == 304
    row = rows(answer)[0]
    assert json.loads(get(f"{PATH}/{row['uuid']}").body)["data"]["title"] == row["title"]
    assert get(f"{PATH}/{row['id']}").status == get("/nothing").status == 404


def test_a_listing_is_worded_as_the_board_does_and_its_body_names_markets_and_start() -> None:
    assert title(SOMI, ["KRW", "BTC"], listed=False) == "솜니아(SOMI) 신규 거래지원 안내 (KRW, BTC 마켓)"
    assert title(SOMI, ["KRW"], listed=True) == "솜니아(SOMI) KRW 마켓 디지털 자산 추가"
    table = body(SOMI, ["KRW", "BTC"], 1_790_000_000 * 10**9)  # 2026-09-21 14:13:20 UTC
    assert "<td>솜니아(SOMI)</td><td>KRW, BTC</td>" in table and "9월 21일 23시 13분" in table


def test_the_dialect_offers_the_list_that_a_collector_polls() -> None:
    dialect, listed = simulator_dialects()
    assert dialect.default and (listed.name, listed.default) == ("upbit_markets", False)
    assert (dialect.name, dialect.url_path.partition("?")[0], dialect.category) == ("upbit", PATH, TRADE)
