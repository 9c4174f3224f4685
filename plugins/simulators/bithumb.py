"""Simulate Bithumb's notices and list of markets, in the format of their public API.

The notices follow an answer of 2026-08: a bare list, ids only in `pc_url`, Korean times without an offset, and `published_at`
in whole minutes. `count` is 1 to 20. More than one request per second from an address gets status 429; the real server
answers with a redirect loop instead.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone

from pumpwatch import Board, BoardDialect, Coin, HttpCall, HttpReply, Post, hookimpl, market_board

KST = timezone(timedelta(hours=9))
NOTICES, MARKETS = "/v1/notices", "/v1/market/all"
LISTING = "마켓 추가"
NS_PER_S = 1_000_000_000
JSON = {"Content-Type": "application/json; charset=utf-8"}
# title, category, age in hours
OLD_POSTS: Sequence[tuple[str, str, float]] = (
    ("트라발라(AVA) 원화 마켓 추가", LISTING, 31),
    ("비쓰리(B3) 원화 마켓 추가 (거래 오픈 시간 변경)", LISTING, 54),
    ("팔콘 파이낸스(FF) 원화 마켓 추가 (거래 수수료 무료)", "마켓 추가/수수료 이벤트", 76),
    ("총 3억원 상당, 젠신(AI) 원화마켓 추가 기념 이벤트", "이벤트", 80),
    ("만트라(MANTRA), 갈라(GALA) 거래유의종목 지정", "거래유의", 101),
    ("하이스트리트(HIGH) 거래지원 종료", "거래지원종료", 122),
    ("소닉(S) 입출금 일시 중지 안내 (09/21 오후 8시~)", "입출금", 140),
    ("재산상 이익 제공 공시", "공시", 166),
)
ESTABLISHED = ("BTC", "ETH", "XRP", "DOGE", "ADA", "TRX", "LINK", "AVAX", "DOT", "BCH")


def seed(now_ns: int, coins: Sequence[Coin]) -> list[Post]:
    """Return the notices that exist at the start."""
    now = now_ns // NS_PER_S
    posts = []
    for place, (title, category, hours) in enumerate(OLD_POSTS):
        at_ns = (now - int(hours * 3600)) * NS_PER_S
        posts.append(Post(number=1_654_573 - 5 * place, uuid="", title=title, category=category, first_listed_at_ns=at_ns,
                          listed_at_ns=at_ns))
    return posts


def title(coin: Coin, markets: Sequence[str], listed: bool) -> str:
    """Return the title of a listing, in the current wording of the board."""
    where = ", ".join("원화" if market == "KRW" else market for market in markets if market != "USDT" or len(markets) == 1)
    return f"{coin.korean or coin.name}({coin.name}) {where} 마켓 추가"


def body(coin: Coin, markets: Sequence[str], trading_ns: int) -> str:
    """Return the body of a listing notice; the API does not serve it."""
    return f"{coin.name}: {', '.join(markets)}"


def notices(call: HttpCall, board: Board) -> HttpReply:
    """Answer with the newest notices."""
    count = call.query.get("count", "5")
    if call.method != "GET" or call.path != NOTICES:
        return _error(404, "not_found")
    if not count.isdigit() or not 1 <= int(count) <= 20:
        return _error(400, "invalid_parameter")
    rows = [{"categories": [post.category], "title": post.title, "pc_url": f"https://feed.bithumb.com/notice/{post.number}",
             "published_at": _time(post.first_listed_at_ns // NS_PER_S // 60 * 60),
             "modified_at": _time(post.listed_at_ns // NS_PER_S)}
            for post in board.ordered()[:int(count)]]
    return HttpReply(200, json.dumps(rows, ensure_ascii=False).encode(), JSON)


def _time(second: int) -> str:
    return f"{datetime.fromtimestamp(second, UTC).astimezone(KST):%Y-%m-%d %H:%M:%S}"


def _error(status: int, name: str) -> HttpReply:
    return HttpReply(status, json.dumps({"error": {"name": name, "message": name}}).encode(), JSON)


BOARDS = [
    BoardDialect(name="bithumb", url_path=f"{NOTICES}?count=20", requests_per_second=1.0, burst=3, seed=seed, title=title,
                 body=body, category=LISTING, rest=notices),
    market_board("bithumb_markets", f"{MARKETS}?isDetails=false", [f"KRW-{coin}" for coin in ESTABLISHED], quotes=("KRW", "BTC")),
]


@hookimpl
def simulator_dialects() -> list[BoardDialect]:
    """Return the notices and the list of markets."""
    return BOARDS
