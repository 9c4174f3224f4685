"""Upbit: its notice board (https://upbit.com/service_center/notice), as its own page reads it, and its list of markets.

Checked 2026-11-21 against stored answers of 2025-04 to 2026-10. The list is undocumented and needs no key.
Addresses: api-manager.upbit.com (2024 on) and pub-info.upbit.com (mid-2026 on) serve the same list. `per_page` of 20
and 30 are accepted, 40 and more refused. ETags are served. Some networks get 403 or an HTML page from the firewall
in front: the list is then down, not empty.
Rate: one address may ask every 2 to 3 s; faster gives 429, which passes after some 30 s. 99 of 100 KRW notices come on weekdays
between 09:00 and 20:30 in Korea, and almost half of them within 7 s after a minute that 5 divides.
Headers: a plain client is rejected with 403; a browser's User-Agent, Referer and Origin are accepted. `Origin` is for
these two hosts only: on api.upbit.com, the trading API, it limits a client to one request in 10 s. English titles come
with `Accept-Language: en`.
Ids: `id` ascends over all categories; the page's own address takes `uuid` (a random number since mid-2026).
Order: by `listed_at`, which every edit renews, so an old notice may come first. `fixed_notices` are pinned.
Times: ISO 8601 with +09:00, whole seconds; `first_listed_at` is the first publication, and the moment at which
markets move; `listed_at` is the last edit.
Titles: a new coin is `이름(SYM) 신규 거래지원 안내 (KRW, BTC, USDT 마켓)`, a further market of a known coin
`이름(SYM) KRW 마켓 디지털 자산 추가`, before 2024-04 `KRW, BTC 마켓 디지털 자산 추가 (AAA, BBB)`. Where several
coins share one list it may be their union (YGG, IMX, GAL, ALT got KRW only later). Edits append remarks, which may say
anything.
Markets: https://docs.upbit.com/kr/reference/list-trading-pairs, without a key, 10 requests a second. A market appears 14 minutes
to hours after its notice, so it confirms the notice, or tells of one that was missed. Never send `Origin` there.
"""

from __future__ import annotations

import re
from datetime import datetime

import msgspec

from pumpwatch import BadFrame, ListingSource, Market, MarketSource, Notice, Pace, TitleGrammar, Verdict, hookimpl, judge

HOSTS = ("api-manager.upbit.com", "pub-info.upbit.com")
LIST = "https://{}/api/v1/announcements?os=web&page=1&per_page=20&category=trade"
PAGE = "https://upbit.com/service_center/notice?id={}"
HEADERS = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
                  "Chrome/142.0.0.0 Safari/537.36",
    "Accept": "application/json",
    "Accept-Language": "ko-KR, ko;q=0.9",
    "Referer": "https://upbit.com/service_center/notice",
    "Origin": "https://upbit.com",
}
MARKETS = "https://api.upbit.com/v1/market/all?is_details=true"
KST_MIN, DAY = 9 * 60, (9 * 60, 20 * 60 + 30)  # Korea's offset, and its hours of notices, in minutes
EVENT_CATEGORIES = ("이벤트", "Event")  # notices of these never open a market; for unknown categories the title decides

# What may follow a statement: the end, parentheses (\ue000), a punctuation mark, or a word that announces. In an event
# (`추가 기념 이벤트`) none of these follows.
ENDS = r"(?=\s*(?:$|[\ue000:,;/\-–—~\[]|및(?:\s|$)|안내|공지|예정|예고|완료|and\b))"
ANNOUNCES = r"(?:\s*(?:예정|예고|완료))?(?:\s*(?:안내|공지))?"

STATEMENTS = (  # 2020-08 on
    re.compile(r"신규\s*거래\s*지원\s*(?:(?:\ue000|예정|개시|사전)\s*){0,3}(?:안내|공지)(?![^\ue000]*이벤트)"),
    re.compile(r"신규\s*거래\s*지원(?=(?:\s*\ue000)*$|(?:\s*\ue000)+\s*(?:,|및\s))"),
    re.compile(r"신규\s*상장\s*(?:안내|공지)(?=(?:\s*\ue000)+$)"),
    re.compile(r"(?:(?<=\ue000)|(?<=\ue000 ))거래\s*지원\s*(?:안내|공지)(?=(?:\s*\ue000)*$)"),
    re.compile(rf"(?<!모으기)(?<!모으기 )(?<!스테이킹)(?<!스테이킹 )"  # services, to which coins are added too
               rf"(?:디지털|가상)\s*자산\s*(?:신규\s*)?추가{ENDS}{ANNOUNCES}"),
    re.compile(r"^(?:(?:notice|announcement|information)\s+(?:on|of|for|about|regarding)\s+)?(?:(?:new|additional)\s+)?"
               r"(?:digital\s+assets?\s+)?market\s+support(?:\s+for\b|\s*:)", re.IGNORECASE),
)
TIED_STATEMENTS = (  # directly behind a market list only: those of 2017-11 to 2021-01, and shortened ones
    re.compile(rf"(?:신규\s*상장|코인\s*추가)(?:\s*오픈)?(?:{ENDS}|(?=\s[^\s,\ue000]+\s?\ue000)){ANNOUNCES}"),
    re.compile(rf"오픈(?:\s*(?:예정|예고|완료))?{ENDS}{ANNOUNCES}"),
    re.compile(rf"거래\s*지원\s*예정{ENDS}{ANNOUNCES}"),
    re.compile(rf"(?:신규\s*)?추가{ENDS}{ANNOUNCES}"),
    re.compile(r"(?:신규\s*)?거래\s*지원(?:\s*(?:개시|시작))?\s*(?:안내|공지)(?![^\ue000]*이벤트)"),
    re.compile(r"신규\s*거래\s*지원(?=(?:\s*\ue000)*$)"),
)

WALLET = r"(?:입\s*출금|입금|출금|월렛|지갑)"
STOPS = r"(?:중단|중지|정지|지연|재개|점검|장애|업그레이드)"
OPENS = r"(?:오픈|개시)"

WORDING = TitleGrammar(
    markets={"KRW": "KRW", "원화": "KRW", "BTC": "BTC", "USDT": "USDT", "USDC": "USDC", "ETH": "ETH"},
    never_coins=frozenset({"KRW"}),
    noun=r"(?:마켓|페어)(?:에서|에|의|을|은)?(?![가-힣])|markets?(?![A-Za-z0-9])",
    joiners=("및", "와", "과", "and"),
    statements=STATEMENTS,
    tied_statements=TIED_STATEMENTS,
    refused_prefix=re.compile(r"이벤트|\bevent", re.IGNORECASE),
    refused=re.compile(r"(?:심볼|티커|명칭)\s*변경에\s*따른"),
    kinds=(
        ("event", re.compile(r"이벤트|기념|당첨|경품|상금|받아\s*가세요|\bevents?\b", re.IGNORECASE)),
        ("delisting", re.compile(r"거래\s*지원\s*종료|상장\s*폐지|terminat\w*\s+(?:of\s+)?(?:\w+\s+)?support|delist",
                                 re.IGNORECASE)),
        ("maintenance", re.compile(rf"{WALLET}[^,]{{0,80}}{STOPS}")),
        ("warning", re.compile(r"유의\s*(?:종목|촉구)|주의\s*종목|투자\s*유의(?!\s*사항)"
                               r"|\bcaution|investment\s+(?:alert|warning)", re.IGNORECASE)),
        ("maintenance", re.compile(rf"{STOPS}|{WALLET}[^,]{{0,40}}{OPENS}|하드\s*포크"
                                   r"|suspen|resum|maintenance|upgrade|hard\s*fork", re.IGNORECASE)),
    ),
    cause=re.compile(r"에\s*(?:따른|의한)|(?:로|으로)\s*인한|\bdue\s+to\b"),
    remarks={
        "cancelled": re.compile(r"취소|철회|cancel", re.IGNORECASE),
        "postponed": re.compile(r"연기|연장|postpon|delay", re.IGNORECASE),
        "start_time": re.compile(r"거래\s*지원\s*(?:개시|일시|일정)|개시\s*시점|오픈\s*시[간점]|start", re.IGNORECASE),
        "price_band": re.compile(r"최저가|최저\s*매도가|기준\s*가격|price", re.IGNORECASE),
        "order_limit": re.compile(r"주문\s*(?:타입\s*)?제한|매수\s*대기", re.IGNORECASE),
        "rename": re.compile(r"(?:명칭|국문명|영문명|이름|심볼|티커)\s*변경|rename", re.IGNORECASE),
        "supply": re.compile(r"유통량|supply", re.IGNORECASE),
        "transfers": re.compile(rf"{WALLET}|네트워크"),
        "event": re.compile(r"이벤트|\bevent", re.IGNORECASE),
        "done": re.compile(r"완료|정상화"),
    },
)


class Row(msgspec.Struct):
    """A row of the list; other keys are skipped."""

    id: int
    title: str
    listed_at: str
    first_listed_at: str = ""
    category: str = ""
    uuid: str = ""


class Page(msgspec.Struct):
    notices: list[msgspec.Raw]  # decoded one by one, so that an unreadable row costs no other


class Answer(msgspec.Struct):
    success: bool
    data: Page | None = None
    error_message: str = ""


_decode = msgspec.json.Decoder(Answer).decode
_decode_row = msgspec.json.Decoder(Row).decode


def verdict(title: str) -> Verdict:
    """Return the verdict on a title, Korean or English."""
    return judge(title, WORDING)


def parse(body: bytes) -> list[Notice | BadFrame]:
    """Return the rows of the list in its order, with a BadFrame in place of each unreadable row.

    Raises BadFrame where the body is not such a list (an HTML page, an error answer), or has no readable row.
    """
    try:
        answer = _decode(body)
    except msgspec.DecodeError as error:
        raise BadFrame(f"not Upbit's list of notices: {error}") from error
    if not answer.success or answer.data is None:
        raise BadFrame(f"Upbit's list of notices answers with an error: {answer.error_message or 'no data'}")
    rows: list[Notice | BadFrame] = []
    for raw in answer.data.notices:
        try:
            row = _decode_row(raw)
            if row.category not in EVENT_CATEGORIES:
                rows.append(_notice(row))
        except (msgspec.DecodeError, ValueError, OverflowError) as error:
            text = bytes(raw)[:300].decode("utf-8", "replace")
            rows.append(BadFrame(f"a row of Upbit's list cannot be read: {error}: {text}"))
    if rows and all(isinstance(row, BadFrame) for row in rows):
        raise BadFrame(f"Upbit's list of notices has no row that can be read, the first: {rows[0]}")
    return rows


def _notice(row: Row) -> Notice:
    return Notice(source="upbit", notice_id=str(row.id), title=row.title, category=row.category,
                  published_at_ns=_ns(row.first_listed_at or row.listed_at), updated_at_ns=_ns(row.listed_at),
                  url=PAGE.format(row.uuid or row.id))


def _ns(text: str) -> int:
    """Return ns since 1970. Raises ValueError for a text that is not a time; any date is accepted."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"the time {text!r} has no offset")
    return round(moment.timestamp() * 1000) * 1_000_000


class MarketRow(msgspec.Struct):
    """A row of the list of markets; other keys are skipped."""

    market: str  # KRW-BTC


_decode_markets = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_market = msgspec.json.Decoder(MarketRow).decode


def parse_markets(body: bytes) -> list[Market | BadFrame]:
    """Return the markets of the list, with a BadFrame in place of each unreadable row. Raises BadFrame for any other body."""
    try:
        raws = _decode_markets(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadFrame(f"not Upbit's list of markets: {error}") from error
    rows: list[Market | BadFrame] = []
    for raw in raws:
        try:
            symbol = _decode_market(raw).market
            quote, _, coin = symbol.partition("-")
            rows.append(Market(symbol=symbol, coin=coin, quote=quote))
        except msgspec.DecodeError as error:
            rows.append(BadFrame(f"a row of Upbit's markets cannot be read: {error}"))
    if all(isinstance(row, BadFrame) for row in rows):
        raise BadFrame("Upbit's list of markets has no row that can be read")
    return rows


UPBIT = ListingSource(
    name="upbit", exchange="upbit", url=LIST.format(HOSTS[0]), fallback_urls=(LIST.format(HOSTS[1]),), headers=HEADERS,
    interval_s=3.0, pace=Pace(utc_offset_min=KST_MIN, day=DAY, night_s=15.0, quick_s=2.0), parse=parse, verdict=verdict,
    drill_title="{coin}({coin}) 신규 거래지원 안내 (KRW, BTC, USDT 마켓)",
)
UPBIT_MARKETS = MarketSource(
    name="upbit_markets", exchange="upbit", url=MARKETS, headers={"Accept": "application/json"},
    interval_s=5.0, pace=Pace(utc_offset_min=KST_MIN, day=DAY, night_s=20.0, quick_s=3.0), parse=parse_markets,
)


@hookimpl
def listing_sources() -> list[ListingSource | MarketSource]:
    """Offer Upbit's board and its list of markets."""
    return [UPBIT, UPBIT_MARKETS]
