"""Simulated lists of markets: what exists, what opens, and that the real sources read them."""

from __future__ import annotations

import json

import pytest
from pumpwatch_plugins.simulators.bithumb import simulator_dialects as bithumb_boards
from pumpwatch_plugins.simulators.upbit import simulator_dialects as upbit_boards
from pumpwatch_plugins.sources.bithumb import BITHUMB_MARKETS
from pumpwatch_plugins.sources.upbit import UPBIT_MARKETS

from pumpwatch.hookspecs import MarketSource
from pumpwatch.listing.market_rows import checked_markets
from pumpwatch.sim.board_dialect import BoardDialect, Post
from pumpwatch.sim.dialect import Coin
from pumpwatch.sim.http_messages import HttpCall, HttpReply
from tests.sim.posts import Posts

NOW_NS = 1_790_000_000 * 10**9
SOMI = Coin("SOMI", 0.8, "솜니아")
BOARDS = {board.name: board for board in (*upbit_boards(), *bithumb_boards())}


def ask(board: BoardDialect, posts: list[Post], path: str = "") -> HttpReply:
    return board.rest(HttpCall("GET", path or board.url_path.partition("?")[0], {}, {}, b"", NOW_NS), Posts(posts))


@pytest.mark.parametrize("source", [UPBIT_MARKETS, BITHUMB_MARKETS], ids=lambda source: str(source.name))
def test_a_market_that_opens_is_read_by_the_source_of_its_name(source: MarketSource) -> None:
    board = BOARDS[source.name]
    posts = board.seed(NOW_NS, [SOMI])
    before = checked_markets(source, ask(board, posts).body, NOW_NS)
    opened = Post(number=99, uuid="", title=board.title(SOMI, ["KRW", "BTC"], False), category="", first_listed_at_ns=NOW_NS,
                  listed_at_ns=NOW_NS)
    after = checked_markets(source, ask(board, [*posts, opened]).body, NOW_NS)
    assert after.rejected == [] and set(after.coins) - set(before.coins) == {"KRW-SOMI"}


def test_the_markets_of_a_coin_are_those_that_the_exchange_has() -> None:
    assert [BOARDS[name].title(SOMI, ["KRW", "BTC", "USDT"], False) for name in ("upbit_markets", "bithumb_markets")] == [
        "KRW-SOMI,BTC-SOMI,USDT-SOMI", "KRW-SOMI,BTC-SOMI"]
    assert BOARDS["upbit_markets"].body(SOMI, ["KRW"], NOW_NS) == ""


def test_a_row_has_the_further_keys_of_its_exchange_and_another_path_is_not_found() -> None:
    board = BOARDS["upbit_markets"]
    (row, *_) = json.loads(ask(board, board.seed(NOW_NS, [])).body)
    assert row["market_event"]["warning"] is False
    assert ask(board, [], "/v1/other").status == 404
