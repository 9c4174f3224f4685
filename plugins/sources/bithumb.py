"""Bithumb: its notices (https://feed.bithumb.com/notice) by their public API, and its list of markets.

Checked 2026-11-21 against https://apidocs.bithumb.com/reference/공지사항-조회 and a stored answer of 2026-08.
Addresses: api.bithumb.com/v1/notices redirects to feed-api.bithumb.com/v1/notices. `count` is 1 to 20. No key is needed.
Rate: 1 request a second per address; beyond it, requests are redirected in a circle. The page itself is HTML, not JSON.
Ids: the last part of `pc_url`.
Times: `2026-08-21 17:00:00` in Korean time, without an offset. `published_at` is the planned time of a notice, in whole minutes,
often later than `modified_at`; a notice may be in the list earlier.
Titles: `리프로토콜(RE) 원화 마켓 추가`, `에이(AAA), 비(BBB) 원화 마켓 추가 (거래 수수료 무료)`, in mirrors behind
`[마켓 추가]` or `[마켓 추가/수수료 이벤트]`, which here are the categories. An update (`거래 오픈 시간 변경`) is a
notice of its own and not a new market, and `재거래지원` is not one either.
Markets: https://apidocs.bithumb.com/reference/마켓코드-조회, in the shape of Upbit's. Trading opens before transfers do.
"""

from __future__ import annotations

import re

import msgspec

from pumpwatch import (
    BadFrame,
    ListingSource,
    Market,
    MarketSource,
    Notice,
    Pace,
    TitleGrammar,
    Verdict,
    bare_list,
    hookimpl,
    judge,
    pair_markets,
    rows_of,
    time_ns,
)

NOTICES = "https://api.bithumb.com/v1/notices?count=20"
FEED = "https://feed-api.bithumb.com/v1/notices?count=20"
MARKETS = "https://api.bithumb.com/v1/market/all?isDetails=false"
HEADERS = {"Accept": "application/json"}
KST_MIN = 9 * 60  # Korea's offset
PACE = Pace(utc_offset_min=KST_MIN, day=(9 * 60, 20 * 60 + 30), night_s=15.0, quick_s=2.0)
MARKET_PACE = Pace(utc_offset_min=KST_MIN, day=(9 * 60, 20 * 60 + 30), night_s=20.0, quick_s=3.0)
LISTING_CATEGORY = "마켓 추가"
EVENT_CATEGORY = "이벤트"

# What may follow a statement: the end, parentheses (\ue000), a punctuation mark, or a word that announces. In an event
# (`추가 기념 이벤트`) none of these follows.
ENDS = r"(?=\s*(?:$|[\ue000:;/\-–—~\[!&+]|,\s*(?:거래\s*)?수수료|및(?:\s|$)|안내|공지|예정|예고|완료))"
ANNOUNCES = r"(?:\s*(?:예정|예고|완료))?(?:\s*(?:안내|공지))?"
WALLET = r"(?:입\s*출금|입금|출금|월렛|지갑)"
STOPS = r"(?:중단|중지|정지|지연|재개|점검|장애|업그레이드)"

WORDING = TitleGrammar(
    markets={"KRW": "KRW", "원화": "KRW", "BTC": "BTC", "비트코인": "BTC", "USDT": "USDT", "USDC": "USDC"},
    never_coins=frozenset({"KRW"}),
    noun=r"(?:마켓|페어)(?:에서|에|의|을|은)?(?![가-힣])",
    joiners=("및", "와", "과"),
    statements=(re.compile(r"신규\s*거래\s*지원\s*(?:안내|공지)(?=(?:\s*\ue000)*$)"),),
    tied_statements=(
        re.compile(rf"(?:신규\s*)?추가(?:\s*오픈)?{ENDS}{ANNOUNCES}"),
        re.compile(rf"(?:신규\s*)?(?:상장|오픈){ENDS}{ANNOUNCES}"),
        re.compile(rf"신규\s*거래\s*지원{ENDS}{ANNOUNCES}"),
        re.compile(r"거래\s*지원(?:\s*(?:개시|시작))?\s*(?:안내|공지)(?![^\ue000]*이벤트)"),
    ),
    refused_prefix=re.compile(r"^(?!.*마켓\s*추가).*이벤트"),
    refused=re.compile(r"재\s*거래\s*지원|재\s*상장|(?:오픈|개시)[^(),]{0,20}(?:변경|연기|취소)"
                       r"|(?:마켓\s*추가|상장|거래\s*지원)\s*(?:취소|연기|철회)"),
    kinds=(
        ("event", re.compile(r"이벤트|기념|당첨|경품|상금|에어\s*드랍|받아\s*가세요")),
        ("delisting", re.compile(r"거래\s*지원\s*종료|상장\s*폐지")),
        ("maintenance", re.compile(rf"{WALLET}[^,]{{0,80}}{STOPS}")),
        ("warning", re.compile(r"(?:거래\s*)?유의\s*(?:종목|촉구)|주의\s*종목|투자\s*유의(?!\s*사항)")),
        ("maintenance", re.compile(rf"{STOPS}|하드\s*포크")),
    ),
    cause=re.compile(r"에\s*(?:따른|의한)|(?:로|으로)\s*인한"),
    remarks={
        "cancelled": re.compile(r"취소|철회"),
        "postponed": re.compile(r"연기|연장"),
        "start_time": re.compile(r"거래\s*오픈|오픈\s*시[간점]|거래\s*개시"),
        "rename": re.compile(r"(?:명칭|국문명|영문명|이름|심볼명?|티커)\s*변경"),
        "transfers": re.compile(rf"{WALLET}|네트워크"),
        "event": re.compile(r"이벤트|수수료\s*무료"),
        "done": re.compile(r"완료|정상화"),
    },
)


class Row(msgspec.Struct):
    """A row of the notices; other keys are skipped."""

    title: str
    pc_url: str
    published_at: str
    modified_at: str = ""
    categories: list[str] = []


_decode_row = msgspec.json.Decoder(Row).decode


def verdict(title: str) -> Verdict:
    """Return the verdict on a title."""
    return judge(title, WORDING)


def parse(body: bytes) -> list[Notice | BadFrame]:
    """Return the notices in their order, with a BadFrame in place of each unreadable row.

    Raises BadFrame where the body is not such a list, is an empty one, or has no readable row.
    """
    return rows_of(bare_list(body, "Bithumb's notices"), _notice, "Bithumb's notices")


def _notice(raw: bytes) -> Notice | None:
    row = _decode_row(raw)
    if EVENT_CATEGORY in row.categories and LISTING_CATEGORY not in row.categories:
        return None
    notice_id = row.pc_url.rstrip("/").rpartition("/")[2]
    if not notice_id.isdecimal():
        raise ValueError(f"the address {row.pc_url!r} does not end in a number")
    published_at_ns = time_ns(row.published_at, KST_MIN)
    return Notice(source="bithumb", notice_id=notice_id, title=row.title, category="/".join(row.categories),
                  published_at_ns=published_at_ns, url=row.pc_url, raw=bytes(raw).decode("utf-8", "replace"),
                  updated_at_ns=time_ns(row.modified_at, KST_MIN) if row.modified_at else published_at_ns)


def parse_markets(body: bytes) -> list[Market | BadFrame]:
    """Return the markets of the list, with a BadFrame in place of each unreadable row. Raises BadFrame for any other body."""
    return pair_markets(body, "Bithumb's list of markets")


BITHUMB = ListingSource(
    name="bithumb", exchange="bithumb", url=NOTICES, fallback_urls=(FEED,), headers=HEADERS, interval_s=3.0, pace=PACE,
    parse=parse, verdict=verdict, drill_title="{coin}({coin}) 원화 마켓 추가",
)
BITHUMB_MARKETS = MarketSource(
    name="bithumb_markets", exchange="bithumb", url=MARKETS, headers=HEADERS, interval_s=5.0, pace=MARKET_PACE,
    parse=parse_markets,
)


@hookimpl
def listing_sources() -> list[ListingSource | MarketSource]:
    """Offer Bithumb's notices and its list of markets."""
    return [BITHUMB, BITHUMB_MARKETS]
