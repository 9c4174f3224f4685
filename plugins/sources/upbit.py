"""Upbit: its notice board (https://upbit.com/service_center/notice), read like its own page does, and its list of markets.

Checked 2026-11-21 against stored answers of 2025-04 to 2026-10. The list is undocumented and needs no key.
Addresses: api-manager.upbit.com (2024 on) and pub-info.upbit.com (mid-2026 on) serve the same list. `per_page` of 20
and 30 are accepted, 40 and more rejected. ETags are served. Some networks get 403 or an HTML page from a firewall: the
list is then down, not empty.
Rate: one request every 2 to 3 s per address; faster requests get 429 for about 30 s. 99 of 100 KRW notices appear on weekdays
between 09:00 and 20:30 in Korea, and almost half of them within 7 s after a minute that is a multiple of 5.
Headers: a plain client is rejected with 403; a browser's User-Agent, Referer and Origin are accepted. `Origin` is for
these two hosts only: on api.upbit.com, the trading API, it limits a client to one request in 10 s. English titles come
with `Accept-Language: en`.
Ids: `id` ascends over all categories; the URL of the page has `uuid` (a random number since mid-2026).
Order: by `listed_at`, which every edit renews, so an old notice may come first. `fixed_notices` are pinned.
Times: ISO 8601 with +09:00, whole seconds; `first_listed_at` is the first publication, and the moment at which
markets move; `listed_at` is the last edit.
Titles: a new coin is `이름(SYM) 신규 거래지원 안내 (KRW, BTC, USDT 마켓)`, a further market of a known coin
`이름(SYM) KRW 마켓 디지털 자산 추가`, before 2024-04 `KRW, BTC 마켓 디지털 자산 추가 (AAA, BBB)`. If several
coins share one list it may be their union (YGG, IMX, GAL, ALT got KRW only later). Edits append remarks, which may say
anything.
Bodies: `/api/v1/announcements/{uuid}` returns the row with `body`, HTML mixed with text; before mid-2026 it took the id.
A table has a row a coin: 디지털 자산, 마켓, 네트워크, 거래지원 개시 시점 (`10월 6일 20시 45분 예정`: Korean time, without a
year). An edit adds lines such as `변경된 거래지원 개시 시점 : 2026-08-10 14:00 KST`.
Markets: https://docs.upbit.com/kr/reference/list-trading-pairs, without a key, 10 requests a second. A market appears 14 minutes
to hours after its notice, so it confirms the notice, or reveals one that was missed. Never send `Origin` there.
"""

from __future__ import annotations

import calendar
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from urllib.parse import urljoin

import msgspec

from pumpwatch import (
    BadFrame,
    ListingSource,
    Market,
    MarketSource,
    Notice,
    NoticeBody,
    Pace,
    TitleGrammar,
    Verdict,
    hookimpl,
    judge,
    pair_markets,
    rows_of,
    time_ns,
)

HOSTS = ("api-manager.upbit.com", "pub-info.upbit.com")
LIST = "https://{}/api/v1/announcements?os=web&page=1&per_page=20&category=trade"
BODY_PATH = "/api/v1/announcements"
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

# The columns of a body's table, and its times. The deposits have a start of their own, which is not that of trading.
COLUMNS = {
    "coin": re.compile(r"디지털\s*자산|\bdigital\s+asset", re.IGNORECASE),
    "markets": re.compile(r"마켓|\bmarkets?\b", re.IGNORECASE),
    "start": re.compile(r"거래\s*지원\s*(?:개시|시작)|거래\s*개시|trading\s+(?:start|open)", re.IGNORECASE),
}
MARKET = re.compile(r"(?<![A-Za-z0-9])(?:KRW|BTC|USDT|ETH)(?![A-Za-z0-9])|원화")
TICKER = re.compile(r"(?<![A-Za-z0-9])[A-Za-z0-9]{1,20}(?![A-Za-z0-9])")
LONGEST_BODY, UNCLOSED = 200_000, 20  # characters; unclosed tags, because parsing takes time quadratic in their number
CHANGED_START = re.compile(r"변경\s*(?:된|후)\s*거래\s*지원\s*개시\s*(?:시점|일시)")
KOREAN_TIME = re.compile(r"(?:(\d{4})\s*년\s*)?(\d{1,2})\s*월\s*(\d{1,2})\s*일[^0-9오]{0,8}(오전|오후)?\s*(\d{1,2})\s*시"
                         r"(?:\s*(\d{1,2})\s*분)?")
ISO_TIME = re.compile(r"(\d{4}-\d{2}-\d{2})[ T](\d{2}:\d{2})")

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


class BodyRow(msgspec.Struct):
    """A notice with its body; other keys are skipped."""

    body: str | None = None


class Detail(msgspec.Struct):
    success: bool
    data: BodyRow | None = None
    error_message: str = ""


class Page(msgspec.Struct):
    notices: list[msgspec.Raw]  # decoded one by one, so that an unreadable row costs no other


class Answer(msgspec.Struct):
    success: bool
    data: Page | None = None
    error_message: str = ""


_decode = msgspec.json.Decoder(Answer).decode
_decode_row = msgspec.json.Decoder(Row).decode
_decode_detail = msgspec.json.Decoder(Detail).decode


def verdict(title: str) -> Verdict:
    """Return the verdict on a title, Korean or English."""
    return judge(title, WORDING)


def parse(body: bytes) -> list[Notice | BadFrame]:
    """Return the rows of the list in its order, with a BadFrame in place of each unreadable row.

    Raises BadFrame where the body is not such a list (an HTML page, an error answer), or has no readable row.
    """
    try:
        answer = _decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadFrame(f"not Upbit's list of notices: {error}") from error
    if not answer.success or answer.data is None:
        raise BadFrame(f"Upbit's list of notices answers with an error: {answer.error_message or 'no data'}")
    return rows_of(answer.data.notices, _notice, "Upbit's notices")


def _notice(raw: bytes) -> Notice | None:
    row = _decode_row(raw)
    if row.category in EVENT_CATEGORIES:
        return None
    return Notice(source="upbit", notice_id=str(row.id), title=row.title, category=row.category,
                  published_at_ns=time_ns(row.first_listed_at or row.listed_at), updated_at_ns=time_ns(row.listed_at),
                  url=PAGE.format(row.uuid or row.id), raw=bytes(raw).decode("utf-8", "replace"))


def body_url(list_url: str, notice: Notice) -> str:
    """Return the address of a notice's body on the host that serves the list."""
    return urljoin(list_url, f"{BODY_PATH}/{notice.url.rpartition('=')[2]}")


def body_text(answer: bytes) -> str:
    """Return a notice's body from the answer of `body_url`. Raises BadFrame for an answer without one."""
    try:
        detail = _decode_detail(answer)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadFrame(f"not a notice of Upbit: {error}") from error
    if not detail.success or detail.data is None or not detail.data.body:
        raise BadFrame(f"Upbit's notice has no body: {detail.error_message or 'it is empty'}")
    if len(detail.data.body) > LONGEST_BODY or abs(detail.data.body.count("<") - detail.data.body.count(">")) > UNCLOSED:
        raise BadFrame("Upbit's notice has a body that is too long, or whose tags are not closed")
    return detail.data.body


class Tables(HTMLParser):
    """Collects the tables of a body as rows of cells, with cells that span rows repeated, and the text around them."""

    def __init__(self, body: str) -> None:
        super().__init__(convert_charrefs=True)
        self.rows: list[list[str]] = []
        self.text = ""
        self._cell: list[str] | None = None
        self._spans: dict[int, tuple[int, str]] = {}  # column -> rows that it still covers, content
        self._span = 1
        self.feed(body)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin a row or a cell."""
        if tag == "table":
            self._spans = {}
        elif tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th") and self.rows:
            self._cell = []
            rows = dict(attrs).get("rowspan") or "1"
            self._span = min(int(rows), 100) if rows.isdecimal() else 1
        elif tag in ("br", "p", "li", "div"):
            self.handle_data("\n")

    def handle_endtag(self, tag: str) -> None:
        """End a cell or a row."""
        if tag in ("td", "th") and self._cell is not None:
            self._fill_spanned()
            content = " ".join("".join(self._cell).split())
            if self._span > 1:
                self._spans[len(self.rows[-1])] = (self._span - 1, content)
            self.rows[-1].append(content)
            self._cell = None
        elif tag == "tr" and self.rows:
            self._fill_spanned()

    def handle_data(self, data: str) -> None:
        """Add text to the cell that is open, else to the text around the tables."""
        if self._cell is not None:
            self._cell.append(data)
        else:
            self.text += data

    def _fill_spanned(self) -> None:
        row = self.rows[-1]
        while (span := self._spans.get(len(row))) is not None:
            left, content = span
            if left > 1:
                self._spans[len(row)] = (left - 1, content)
            else:
                del self._spans[len(row)]
            row.append(content)


def read_body(body: str, published_at_ns: int) -> NoticeBody:
    """Return the markets and the trading start of each coin in a body's table.

    A missing year is the one nearest to the publication. A changed start in the text applies to the coins that its line names,
    or else to all. Raises BadFrame for a body without a table of markets.
    """
    tables = Tables(body)
    markets: dict[str, tuple[str, ...]] = {}
    starts_ns: dict[str, int] = {}
    columns: dict[str, int] = {}
    for row in tables.rows + [_cells(line) for line in tables.text.splitlines() if line.count("|") > 1]:
        heads = {name: number for number, cell in reversed(list(enumerate(row)))
                 for name, pattern in COLUMNS.items() if pattern.search(cell)}
        if len(heads) > 1 and _coin_of(row[heads.get("coin", 0)]) is None:
            columns = heads if {"coin", "markets"} <= heads.keys() else {}
        elif columns and len(row) > max(columns["coin"], columns["markets"]):
            coin = _coin_of(row[columns["coin"]])
            found = tuple(WORDING.markets[name] for name in MARKET.findall(row[columns["markets"]]))
            if coin is None or not found:
                continue
            markets[coin] = tuple(dict.fromkeys((*markets.get(coin, ()), *found)))
            if "start" in columns and columns["start"] < len(row):
                _put_start(starts_ns, [coin], row[columns["start"]], published_at_ns)
    if not markets:
        raise BadFrame("the body has no table of markets")
    for line in tables.text.splitlines():
        if changed := CHANGED_START.search(line):
            named = [coin for coin in TICKER.findall(line[:changed.start()]) if coin in markets]
            _put_start(starts_ns, named or list(markets), line[changed.end():], published_at_ns)
    return NoticeBody(markets, starts_ns)


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def _coin_of(cell: str) -> str | None:
    """Return the ticker of `뉴메레르(NMR)`, `NMR(뉴메레르)` or `NMR`."""
    bracketed: list[str] = [ticker for ticker in re.findall(r"\(\s*([A-Za-z0-9]{1,20})\s*\)", cell) if not ticker.isdecimal()]
    if bracketed:
        return bracketed[-1]
    bare = re.match(r"([A-Z0-9]{1,20})\s*(?:\(|$)", cell)
    return bare.group(1) if bare and not bare.group(1).isdecimal() else None


def _put_start(starts_ns: dict[str, int], coins: list[str], text: str, published_at_ns: int) -> None:
    """Set the start of these coins' trading to the time in a text, if there is one."""
    try:
        if iso := ISO_TIME.search(text):
            at_ns = time_ns(f"{iso[1]} {iso[2]}", KST_MIN)
        elif said := KOREAN_TIME.search(text):
            year, month, day, half, hour, minute = said.groups()
            hours = int(hour) % 12 + 12 * (half == "오후") if half else int(hour)
            around = datetime.fromtimestamp(published_at_ns // 10**9, UTC).year
            at_ns = min((time_ns(f"{number:04}-{int(month):02}-{int(day):02} {hours:02}:{int(minute or 0):02}", KST_MIN)
                         for number in ([int(year)] if year else range(around - 1, around + 2)) if _has_day(number, month, day)),
                        key=lambda found_ns: abs(found_ns - published_at_ns))
        else:
            return
    except (ValueError, OverflowError):
        return
    starts_ns.update(dict.fromkeys(coins, at_ns))


def _has_day(year: int, month: str, day: str) -> bool:
    return (int(month), int(day)) != (2, 29) or calendar.isleap(year)


def parse_markets(body: bytes) -> list[Market | BadFrame]:
    """Return the markets of the list, with a BadFrame in place of each unreadable row. Raises BadFrame for any other body."""
    return pair_markets(body, "Upbit's list of markets")


UPBIT = ListingSource(
    name="upbit", exchange="upbit", url=LIST.format(HOSTS[0]), fallback_urls=(LIST.format(HOSTS[1]),), headers=HEADERS,
    interval_s=3.0, pace=Pace(utc_offset_min=KST_MIN, day=DAY, night_s=15.0, quick_s=2.0), parse=parse, verdict=verdict,
    body_url=body_url, body_text=body_text, read_body=read_body,
    drill_title="{coin}({coin}) 신규 거래지원 안내 (KRW, BTC, USDT 마켓)",
)
UPBIT_MARKETS = MarketSource(
    name="upbit_markets", exchange="upbit", url=MARKETS, headers={"Accept": "application/json"},
    interval_s=5.0, pace=Pace(utc_offset_min=KST_MIN, day=DAY, night_s=20.0, quick_s=3.0), parse=parse_markets,
)


@hookimpl
def listing_sources() -> list[ListingSource | MarketSource]:
    """Return Upbit's board and its list of markets."""
    return [UPBIT, UPBIT_MARKETS]
