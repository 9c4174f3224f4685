"""Simulate Upbit's notices and markets: the JSON behind its web page, with ETag, edits and rejections, and its WebSocket.

The format follows payloads of 2025-10 and 2026-08. Rows are sorted by `listed_at`, so an edit moves an old notice to the top.
`uuid` is a random decimal for new notices and the id for old ones. Badges last a day; pinned rows are in a separate list.
`per_page` above 30 is a bad request. More than about one request per second from an address gets status 429. The
WebSocket accepts one key and sends each notice and each edit once, with the same field names as the list.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from pumpwatch import Board, BoardDialect, Coin, HttpCall, HttpReply, Post, PushDialect, hookimpl, market_board

KST = timezone(timedelta(hours=9))
PATH = "/api/v1/announcements"
MARKETS = "/v1/market/all"
PUSH_PATH = "/websocket/v1/private"
KEY = {"access_key": "simulated-access-key", "secret_key": "simulated-secret-key"}  # the only accepted key
ESTABLISHED = ("KRW-BTC", "KRW-ETH", "BTC-ETH", "KRW-XRP", "KRW-DOGE", "KRW-ADA", "KRW-TRX", "KRW-LINK", "KRW-AVAX", "KRW-DOT",
               "KRW-BCH", "BTC-NEXO", "USDT-NEXO")
TRADE = "거래"
CATEGORIES = {"trade": TRADE, "digital_asset": "디지털 자산", "event": "이벤트", "maintenance": "점검"}
NS_PER_S = 1_000_000_000
DAY_S = 86_400
TOTAL = 5_748  # number of notices that the board reports; the pages after the simulated ones are empty
# title, category, age in hours, hours since the last edit
OLD_POSTS: Sequence[tuple[str, str, float, float]] = (
    ("넥소(NEXO) 신규 거래지원 안내 (USDT 마켓) (거래지원 개시 시점 변경 안내)", TRADE, 30, 27.5),
    ("오덜리(ORDER) KRW 마켓 디지털 자산 추가", TRADE, 52, 52),
    ("엔진코인(ENJ) KRW 마켓 거래지원 종료(10/10 18:00) 및 BTC 마켓 유의 종목 지정 해제 안내", TRADE, 75, 75),
    ("인피닛(IN) BTC, USDT 마켓, 비쓰리(B3) USDT 마켓 신규 거래지원 안내", TRADE, 98, 98),
    (("셀레스티아(TIA)(KRW, BTC, USDT 마켓), 아이오넷(IO)(BTC, USDT 마켓) 신규 거래지원 안내 "
      "(주문 타입 제한 관련 안내)"), TRADE, 124, 101),
    ("PUFFER(퍼퍼), SWELL(스웰네트워크) 신규 거래지원 안내 (BTC, USDT 마켓) (SWELL 국문명 변경 안내)", TRADE, 150, 147),
    (("헤미(HEMI), 유즈리스(USELESS) 신규 거래지원 안내 (BTC, USDT 마켓) "
      "(헤미(HEMI) 거래지원 취소 안내)"), TRADE, 171, 170),
    ("스택스(STX) 거래 유의 종목 지정 안내", TRADE, 190, 190),
    ("솜니아(SOMI) 거래지원 기념, 총 상금 이벤트 안내", "이벤트", 200, 200),
    ("원화 입출금 서비스 일시 중단 안내 (11/21 00:00 ~ 02:00)", "입출금", 210, 210),
    ("서버 점검 안내 (11/18 04:00 ~ 06:00)", "점검", 220, 220),
    ("이더리움 네트워크 계열 디지털 자산 입출금 일시 중단 안내", "디지털 자산", 225, 225),
)


def seed(now_ns: int, coins: Sequence[Coin]) -> list[Post]:
    """Return the notices that exist at the start, one of them pinned."""
    now = now_ns // NS_PER_S
    posts = []
    for place, (title, category, published, edited) in enumerate(OLD_POSTS):
        number = 6_496 - 3 * place
        posts.append(Post(number=number, uuid=str(898_944_907 - 7_919 * place), title=title, category=category,
                          first_listed_at_ns=(now - int(published * 3600)) * NS_PER_S,
                          listed_at_ns=(now - int(edited * 3600)) * NS_PER_S))
    posts.append(Post(number=2_895, uuid="2895", title="특정금융정보법에 따른 고객확인제도 시행 안내", category="안내",
                      first_listed_at_ns=1_661_425_202 * NS_PER_S, listed_at_ns=1_782_178_249 * NS_PER_S, fixed=True))
    return posts


def title(coin: Coin, markets: Sequence[str], listed: bool) -> str:
    """Return the title of a listing, in the current wording of the board."""
    name, where = f"{coin.korean or coin.name}({coin.name})", ", ".join(markets)
    return f"{name} {where} 마켓 디지털 자산 추가" if listed else f"{name} 신규 거래지원 안내 ({where} 마켓)"


def body(coin: Coin, markets: Sequence[str], trading_ns: int) -> str:
    """Return the body of a listing notice: a table with the markets and the start of trading."""
    start = datetime.fromtimestamp(trading_ns // NS_PER_S, UTC).astimezone(KST)
    cells = (f"{coin.korean or coin.name}({coin.name})", ", ".join(markets), "Ethereum",
             f"{start.month}월 {start.day}일 {start.hour:02}시 {start.minute:02}분 예정")
    heads = ("디지털 자산", "마켓", "네트워크", "거래지원 개시 시점")
    return (f"<table><thead><tr>{''.join(f'<th>{head}</th>' for head in heads)}</tr></thead>"
            f"<tbody><tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr></tbody></table>")


def rest(call: HttpCall, board: Board) -> HttpReply:
    """Answer requests for the list and for the detail of a notice."""
    if call.method != "GET" or not call.path.startswith(PATH):
        return _error(404, "Not Found")
    if call.path == PATH:
        return _list(call, board)
    wanted = call.path.removeprefix(PATH + "/")
    for post in board.posts:
        if post.uuid == wanted:
            return _cached(call, {"success": True, "data": {**_row(post, call.now_ns), "body": post.body}})
    return _error(404, "Not Found")


def _list(call: HttpCall, board: Board) -> HttpReply:
    page, size = call.query.get("page", "1"), call.query.get("per_page", "20")
    if not page.isdigit() or not size.isdigit() or not 1 <= int(size) <= 30 or int(page) < 1:
        return _error(400, "Bad request")
    posts = board.ordered(CATEGORIES.get(call.query.get("category", "all"), ""))
    start = (int(page) - 1) * int(size)
    data = {"total_pages": -(-TOTAL // int(size)), "total_count": TOTAL,
            "notices": [_row(post, call.now_ns) for post in posts[start:start + int(size)]],
            "fixed_notices": [_row(post, call.now_ns) for post in board.posts if post.fixed]}
    return _cached(call, {"success": True, "data": data})


def _row(post: Post, now_ns: int) -> dict[str, Any]:
    edited = post.listed_at_ns != post.first_listed_at_ns
    recent = now_ns - post.listed_at_ns < DAY_S * NS_PER_S
    return {"listed_at": _time(post.listed_at_ns), "first_listed_at": _time(post.first_listed_at_ns), "id": post.number,
            "uuid": post.uuid, "title": post.title, "category": post.category,
            "need_new_badge": recent and not edited, "need_update_badge": recent and edited}


def _time(ns: int) -> str:
    return datetime.fromtimestamp(ns // NS_PER_S, UTC).astimezone(KST).isoformat()


def _cached(call: HttpCall, answer: dict[str, Any]) -> HttpReply:
    content = json.dumps(answer, ensure_ascii=False, separators=(",", ":")).encode()
    tag = f'W/"{hashlib.sha1(content, usedforsecurity=False).hexdigest()[:32]}"'
    if call.headers.get("if-none-match") == tag:
        return HttpReply(304, b"", {"ETag": tag})
    return HttpReply(200, content, {"ETag": tag, "Content-Type": "application/json; charset=utf-8"})


def _error(status: int, text: str) -> HttpReply:
    return HttpReply(status, json.dumps({"success": False, "error_message": text}).encode())


def open_push(call: HttpCall, revoked: bool) -> HttpReply | None:
    """Accept a token signed with KEY, and reject any other with 401, as the real server does."""
    given = call.headers.get("authorization", "").removeprefix("Bearer ")
    head, _, rest = given.partition(".")
    payload, _, signature = rest.partition(".")
    signed = hmac.digest(KEY["secret_key"].encode(), f"{head}.{payload}".encode(), hashlib.sha512)
    try:
        claims = json.loads(_unpadded(payload))
        valid = (hmac.compare_digest(_unpadded(signature), signed) and json.loads(_unpadded(head))["alg"] == "HS512"
                 and claims["access_key"] == KEY["access_key"] and bool(claims["nonce"]))
    except (ValueError, KeyError, TypeError):
        valid = False
    if call.path != PUSH_PATH:
        return _error(404, "Not Found")
    if revoked or not valid:
        return HttpReply(401, b'{"error":{"name":"invalid_access_key","message":"invalid access key"}}')
    return None


def _unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def receive_push(notes: dict[str, Any], text: str) -> list[str]:
    """Store a subscription, answer PING, and answer any other message with an error."""
    if text == "PING":
        return ['{"status":"UP"}']
    try:
        ticket, wanted, *_ = json.loads(text)
        if not ticket["ticket"] or wanted["type"] != "announcement":
            raise ValueError
        if unknown := set(wanted.get("categories", ())) - {*CATEGORIES, "notice"}:
            return [json.dumps({"error": {"name": "INVALID_PARAM", "message": f"categories: {', '.join(sorted(unknown))}"}})]
    except (ValueError, KeyError, TypeError):
        return ['{"error":{"name":"WRONG_FORMAT","message":"Format이 맞지 않습니다."}}']
    notes |= {"categories": [CATEGORIES.get(name, name) for name in wanted.get("categories", ())],
              "body": bool(wanted.get("include_body")), "subscribed": True}
    return []


def encode_push(post: Post, event: str, notes: Mapping[str, Any], now_ns: int) -> str:
    """Return the message of a notice for a client that subscribed to its category."""
    if not notes.get("subscribed") or (notes["categories"] and post.category not in notes["categories"]):
        return ""
    row = _row(post, now_ns)
    message = {"type": "announcement", "event": event.upper(), **{name: row[name] for name in (
        "id", "uuid", "title", "category", "first_listed_at", "listed_at")}}
    if notes["body"]:
        message["body"] = post.body or None
    return json.dumps({**message, "timestamp": now_ns // 1_000_000, "stream_type": "REALTIME"}, ensure_ascii=False)


PUSH = PushDialect(name="upbit_announcements", path=PUSH_PATH, options=KEY, open=open_push, receive=receive_push,
                   encode=encode_push)
DIALECT = BoardDialect(
    name="upbit", url_path=f"{PATH}?os=web&page=1&per_page=20&category=trade", requests_per_second=1.0, burst=3,
    seed=seed, title=title, body=body, category=TRADE, rest=rest, push=PUSH, default=True)
MARKET_DIALECT = market_board("upbit_markets", f"{MARKETS}?is_details=true", ESTABLISHED, quotes=("KRW", "BTC", "USDT"),
                              extra={"market_event": {"warning": False, "caution": {"PRICE_FLUCTUATIONS": False}}})


@hookimpl
def simulator_dialects() -> list[BoardDialect]:
    """Return the board and the list of markets."""
    return [DIALECT, MARKET_DIALECT]
