"""A simulated list of markets, `[{"market": "KRW-BTC", ...}, ...]`: a board whose posts are markets."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pumpwatch.sim.board_dialect import Board, BoardDialect, Post
from pumpwatch.sim.dialect import Coin
from pumpwatch.sim.http_messages import HttpCall, HttpReply

JSON_TYPE = {"Content-Type": "application/json; charset=utf-8"}


def market_board(name: str, url_path: str, established: Sequence[str], *, quotes: Sequence[str],
                 extra: Mapping[str, Any] | None = None) -> BoardDialect:
    """Return a list of markets as a board.

    url_path: path and query that a collector polls. established: symbols that exist at the start. quotes: the quotes in which a
    listed coin gets a market. extra: further keys of every row.
    """
    path = url_path.partition("?")[0]

    def seed(now_ns: int, coins: Sequence[Coin]) -> list[Post]:
        return [Post(number=number, uuid="", title=symbol, category="", first_listed_at_ns=0, listed_at_ns=0)
                for number, symbol in enumerate(established, 1)]

    def title(coin: Coin, markets: Sequence[str], listed: bool) -> str:
        return ",".join(f"{market}-{coin.name}" for market in markets if market in quotes)

    def rest(call: HttpCall, board: Board) -> HttpReply:
        if call.method != "GET" or call.path != path:
            return HttpReply(404, b'{"error":{"name":"not_found","message":"not_found"}}', dict(JSON_TYPE))
        symbols = [symbol for post in board.ordered() for symbol in post.title.split(",")]
        rows = [{"market": symbol, "korean_name": symbol, "english_name": symbol, **(extra or {})} for symbol in symbols]
        return HttpReply(200, json.dumps(rows, ensure_ascii=False).encode(), dict(JSON_TYPE))

    return BoardDialect(name=name, url_path=url_path, requests_per_second=10.0, burst=10, seed=seed, title=title,
                        body=lambda coin, markets, trading_ns: "", category="", rest=rest)
