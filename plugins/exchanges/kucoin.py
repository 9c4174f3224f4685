"""KuCoin spot and USDT perpetuals: every trade, by the classic protocol or the tokenless one of 2025 (variant `tokenless`).

Documents: kucoin-universal-sdk spec/ws and spec/rest (2025-11-04); the tokenless protocol from maintained adapters
(2026-08) and live observations (2026-08-21, 2026-09-22); docs-new "Get Klines" of spot and of futures. Checked 2026-11-27.

Symbols: `SOMI-USDT`, `SOMIUSDTM`. A renamed coin keeps its old symbol; its base has the new name. XBT is BTC. A multiplier is
part of the base: 1000BONK, 1MBABYDOGE.
Ids: `tradeId`, text: the number in `sequence` today, a hexadecimal word until 2022. Numbers are stored as numbers, words as
text. Both ascend per symbol and skip, so they cannot prove a loss. Neither can `sequence`: it numbers all events of a
symbol's matching engine (level 3: orders received, opened, changed and done, and trades; "Match Execution Data" and "Full
MatchEngine Data" of spot, `sn` of futures), but this channel sends only trades. Consecutive spot trades recorded in 2021 had
1612701563869, ...871, ...873 and ...877. Jumps are normal, and look the same with and without a lost trade.
Times: ns, as text on spot. Side: the taker's. Quantity: base units on spot, lots of `multiplier` base units on futures.
Quirks: each connection needs a new token (a used one always gets 401), and nothing may be sent before the welcome. A
symbol that does not exist is acknowledged but silent. The last trades may be sent again after a reconnect. Pings are due
every 18 s. The tokenless protocol takes one symbol per request and answers in binary frames. A frame's keys identify its
protocol, so one `parse` reads both. The REST interface of the tokenless protocol ends with 2026, so both variants use the
classic lists and history. The contract list has volumes; for spot, allTickers has them.
Limits, classic: 100 symbols per topic; 400 per spot session in the newer text, 300 in the older one, which is used here
(more are rejected with 509); 100 messages in 10 s; 30 connects per minute. Tokenless: 600 topics per connection (200 are
used), 300 messages in 10 s, 250 connects in 5 minutes. It is not documented whether connects and the REST weight of 2,000
in 30 s count per market; the stricter reading is used: both markets share them.
History: the last 100 trades for any query: oldest first on spot, newest first on futures. Candles: 1,500 per request on spot,
newest first, in base units; 500 on futures, in lots. Minutes without trades are missing. Books: 100 levels without a key
("Get Part OrderBook"), in lots on futures; 20 levels have the same weight there. Tickers: "Get 24hr Stats" of spot; the
contract's row on futures, without a time, its volume in base units as clients read it (from memory).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Generic, Literal, TypeVar
from urllib.parse import quote

import msgspec

from pumpwatch import (
    FUTURES,
    NO_SEQUENCE,
    SPOT,
    BadFrame,
    Candle,
    Candles,
    Columns,
    Control,
    ControlKind,
    Flag,
    Heartbeat,
    HistoryDepth,
    HistoryQuery,
    HttpRequest,
    IdKind,
    Instrument,
    Limits,
    OrderBooks,
    QuantityUnit,
    Session,
    Venue,
    Volumes,
    ascending_candles,
    book_reader,
    hookimpl,
    split_multiplier,
    tickers_at,
)

NS_PER_MS, NS_PER_S, MINUTE_NS = 10**6, 10**9, 60 * 10**9
OK, TOO_MANY = "200000", 509
TOPICS = {SPOT: "/market/match:", FUTURES: "/contractMarket/execution:"}
TRADE_SUBJECTS = frozenset({"trade.l3match", "match", "trade.SPOT", "trade.FUTURES"})
OLD_NAMES = {"XBT": "BTC"}
Id = TypeVar("Id", int, str)


class ClassicTrade(msgspec.Struct, Generic[Id], gc=False):
    """A trade of the classic protocol; its time is `time` on spot, `ts` on futures."""

    symbol: str
    side: Literal["buy", "sell"]
    price: float
    size: float
    tradeId: Id
    sequence: int
    time: int = 0
    ts: int = 0


class ClassicFrame(msgspec.Struct, Generic[Id], gc=False):
    """A frame of the classic protocol: one trade."""

    subject: Literal["trade.l3match", "match"]
    data: ClassicTrade[Id]


class TokenlessTrade(msgspec.Struct, Generic[Id], gc=False):
    """A trade of the tokenless protocol."""

    s: str
    S: Literal["buy", "sell"]
    p: float
    q: float
    M: int
    ti: Id
    E: int
    rpi: bool = False


class TokenlessFrame(msgspec.Struct, Generic[Id], gc=False):
    """A frame of the tokenless protocol: one trade."""

    T: Literal["trade.SPOT", "trade.FUTURES"]
    d: TokenlessTrade[Id]


class HistoryRow(msgspec.Struct, gc=False):
    """A trade of the REST history, in any of its shapes."""

    side: Literal["buy", "sell"]
    price: float
    size: float
    sequence: int = NO_SEQUENCE
    tradeId: str = ""
    time: int = 0
    ts: int = 0


_classic = msgspec.json.Decoder(list[ClassicFrame[int]], strict=False)
_classic_words = msgspec.json.Decoder(list[ClassicFrame[str]], strict=False)
_tokenless = msgspec.json.Decoder(list[TokenlessFrame[int]], strict=False)
_tokenless_words = msgspec.json.Decoder(list[TokenlessFrame[str]], strict=False)


def _classic_request(market_type: str, kind: str) -> Callable[[Sequence[str], int], str]:
    def frame(symbols: Sequence[str], request_id: int) -> str:
        return msgspec.json.encode({"id": str(request_id), "type": kind, "topic": TOPICS[market_type] + ",".join(symbols),
                                    "privateChannel": False, "response": True}).decode()

    return frame


def _tokenless_request(market_type: str, action: str) -> Callable[[Sequence[str], int], str]:
    def frame(symbols: Sequence[str], request_id: int) -> str:
        (symbol,) = symbols
        return msgspec.json.encode({"id": str(request_id), "action": action, "channel": "trade",
                                    "tradeType": market_type.upper(), "symbol": symbol}).decode()

    return frame


def ping(now_ns: int) -> str:
    """Return a ping; like every message it needs a unique id."""
    return f'{{"id":"{now_ns}","type":"ping"}}'


def _address_with_token(default_url: str) -> Callable[[bytes, str, str], str]:
    """Return a function that builds the address of a connection from a token's answer.

    The server is the one in the answer, unless the config has another address than the default.
    """

    def address(body: bytes, ws_url: str, connection: str) -> str:
        data = _data_in(body)
        server = data["instanceServers"][0]["endpoint"] if ws_url == default_url else ws_url
        if not server.startswith(("wss://", "ws://")):
            raise BadFrame(f"not a WebSocket address: {server[:80]}")
        return f"{server}?token={quote(data['token'], safe='')}&connectId={connection}"

    return address


def parse(text: bytes | memoryview, columns: Columns) -> None:
    """Append the trades of a JSON array of frames, all of one protocol; ids that are not numbers are kept as text."""
    try:
        _append(_classic.decode(text), columns)
    except (msgspec.ValidationError, OverflowError):
        try:
            _append_tokenless(_tokenless.decode(text), columns)
        except (msgspec.ValidationError, OverflowError):
            try:
                _append(_classic_words.decode(text), columns)
            except msgspec.ValidationError:
                _append_tokenless(_tokenless_words.decode(text), columns)


def _checked(ids: list[Any]) -> list[Any]:
    """Return valid ids unchanged. Raises OverflowError for numbers that only fit as text, BadFrame for invalid ids."""
    if ids and isinstance(ids[0], int):
        if min(ids) < 0:
            raise BadFrame("a negative id")
        if max(ids) >= 2**63:
            raise OverflowError
    elif not all(word.isalnum() for word in ids):
        raise BadFrame("an id that is neither a number nor a word")
    return ids


def _append(frames: list[Any], columns: Columns) -> None:
    trades = [frame.data for frame in frames]
    columns.trade_id = _checked([trade.tradeId for trade in trades])
    columns.symbol = [trade.symbol for trade in trades]
    columns.price = [trade.price for trade in trades]
    columns.quantity = [trade.size for trade in trades]
    columns.timestamp = times = [trade.time or trade.ts for trade in trades]
    if 0 in times:
        raise BadFrame("a trade without a time")
    columns.sequence_number = [trade.sequence for trade in trades]
    columns.sell = [trade.side == "sell" for trade in trades]


def _append_tokenless(frames: list[Any], columns: Columns) -> None:
    trades = [frame.d for frame in frames]
    columns.trade_id = _checked([trade.ti for trade in trades])
    columns.symbol = [trade.s for trade in trades]
    columns.price = [trade.p for trade in trades]
    columns.quantity = [trade.q for trade in trades]
    columns.timestamp = [trade.M for trade in trades]
    columns.sequence_number = [trade.E for trade in trades]
    columns.sell = [trade.S == "sell" for trade in trades]
    retail = [trade.rpi for trade in trades]
    if True in retail:
        columns.flags = {row: Flag.RPI.value for row, rpi in enumerate(retail) if rpi}


def read_control(frame: bytes) -> Control | None:
    """Read a frame that is not a trade: welcome, pong, acknowledgement, rejection, or another topic's data."""
    message = msgspec.json.decode(frame)
    if not isinstance(message, dict):
        return None
    kind, number = message.get("type"), message.get("id")
    request_id = int(number) if isinstance(number, str) and number.isdecimal() else None
    if kind == "welcome" or message.get("message") == "welcome":
        return Control(ControlKind.WELCOME)
    if kind == "pong":
        return Control(ControlKind.PONG)
    if kind == "ack" or message.get("result") is True:
        return Control(ControlKind.ACK, request_id)
    if kind == "error" or message.get("result") is False:
        text = message.get("data") or message.get("msg")
        full = message.get("code") == TOO_MANY and "per session" in str(text)  # the same code says "per topic"
        return Control(ControlKind.FULL if full else ControlKind.REFUSAL, request_id, reason=f"{message.get('code')} {text}")
    subject = message.get("subject") or message.get("T") or message.get("op")
    if isinstance(subject, str) and subject not in TRADE_SUBJECTS:
        return Control(ControlKind.OTHER, reason=subject)
    return Control(ControlKind.OTHER, reason=kind) if kind in ("notice", "command") else None


def _data_in(body: bytes) -> Any:
    """Return the data of an answer. Raises BadFrame for an error, which may come with HTTP status 200."""
    answer = msgspec.json.decode(body)
    if str(answer["code"]) != OK:
        raise BadFrame(f"{answer['code']} {answer.get('msg')}")
    return answer["data"]


def _rows_in(body: bytes) -> Any:
    return data["list"] if isinstance(data := _data_in(body), dict) else data


def parse_instruments(bodies: Sequence[bytes]) -> list[Instrument]:
    """Read symbols or contracts that trade against USDT, spot or linear perpetual."""
    return [_instrument(row) for row in _rows_in(bodies[0]) if row["quoteCurrency"] == "USDT" and _is_trading(row)]


def _is_trading(row: dict[str, Any]) -> bool:
    if "enableTrading" in row:
        return bool(row["enableTrading"])
    if row["isInverse"] or row.get("settleCurrency", row.get("settlementCurrency")) != "USDT":
        return False
    if "unitSize" in row:  # the tokenless protocol's list
        return str(row["tradingStatus"]) == "1" and row["expiryTime"] is None
    return bool(row["type"] == "FFWCSX" and row["status"] == "Open")


def _instrument(row: dict[str, Any]) -> Instrument:
    base = OLD_NAMES.get(row["baseCurrency"], row["baseCurrency"])
    return Instrument(symbol=row["symbol"], base=base, quote="USDT", multiplier=split_multiplier(base),
                      contract_size=float(row.get("multiplier") or row.get("unitSize") or 1),
                      volume=float(row.get("turnoverOf24h") or 0))


def parse_volumes(body: bytes) -> dict[str, float]:
    """Read allTickers: symbol -> USDT traded in 24 hours; null, for a symbol that did not trade, becomes 0."""
    return {row["symbol"]: float(row["volValue"] or 0) for row in _data_in(body)["ticker"]}


def _history_request(path: str, weight: float) -> Callable[[HistoryQuery], HttpRequest]:
    return lambda query: HttpRequest(path, {"symbol": query.symbol}, weight=weight)


def parse_history(body: bytes, symbol: str, columns: Columns) -> None:
    """Append the last trades. On spot they lack the trade id, but their sequence number equals it."""
    rows = msgspec.convert(_rows_in(body), list[HistoryRow], strict=False)
    ids = [row.tradeId or str(row.sequence) for row in rows]
    columns.trade_id = [int(text) for text in ids] if all(text.isdecimal() for text in ids) else _checked(ids)
    columns.symbol = [symbol] * len(rows)
    columns.price = [row.price for row in rows]
    columns.quantity = [row.size for row in rows]
    columns.timestamp = [row.time or row.ts for row in rows]
    columns.sequence_number = [row.sequence for row in rows]
    columns.sell = [row.side == "sell" for row in rows]


def spot_candles_request(symbol: str, start_ns: int, end_ns: int) -> HttpRequest:
    """Request minutes by seconds; the end is the last second before end_ns, so it does not matter whether it is inclusive."""
    return HttpRequest("/api/v1/market/candles", {"symbol": symbol, "type": "1min", "startAt": -(-start_ns // MINUTE_NS) * 60,
                                                  "endAt": (end_ns - 1) // NS_PER_S}, weight=3)


def futures_candles_request(symbol: str, start_ns: int, end_ns: int) -> HttpRequest:
    """Request minutes by milliseconds, in the same way."""
    return HttpRequest("/api/v1/kline/query", {"symbol": symbol, "granularity": 1, "from": -(-start_ns // MINUTE_NS) * 60_000,
                                               "to": (end_ns - 1) // NS_PER_MS}, weight=3)


def _candles_parser(unit_ns: int, places: Sequence[int]) -> Callable[[bytes, Instrument], list[Candle]]:
    """Return a reader of rows of numbers; places: of time, open, high, low, close, volume and turnover in a row."""

    def parse_candles(body: bytes, instrument: Instrument) -> list[Candle]:
        rows = msgspec.convert(_data_in(body), list[list[float]], strict=False)
        return ascending_candles(
            Candle(start_ns=int(at) * unit_ns, open=first, high=high, low=low, close=last,
                   volume=volume * instrument.contract_size, quote_volume=turnover)
            for at, first, high, low, last, volume, turnover in ([row[place] for place in places] for row in rows))

    return parse_candles


def _books(path: str, weight: float, time: tuple[str, int]) -> OrderBooks:
    return OrderBooks(request=lambda symbol: HttpRequest(path, {"symbol": symbol}, weight=weight),
                      parse=book_reader(_data_in, time=time, sequence="sequence"))


MARKETS: dict[str, dict[str, Any]] = {
    SPOT: {
        "rest_url": "https://api.kucoin.com", "quantity_unit": QuantityUnit.BASE,
        "instruments_requests": [HttpRequest("/api/v2/symbols", weight=4)],
        "volumes": Volumes(HttpRequest("/api/v1/market/allTickers", weight=15), parse_volumes),
        "history_request": _history_request("/api/v1/market/histories", 3),
        "candles": Candles(request=spot_candles_request, parse=_candles_parser(NS_PER_S, (0, 1, 3, 4, 2, 5, 6)),
                           rows_per_request=1500, reach_s=math.inf, tolerance=0.0, why=""),
        "books": _books("/api/v1/market/orderbook/level2_100", 4, ("time", NS_PER_MS)),
        "tickers": tickers_at("/api/v1/market/stats", weight=15, data=_data_in, symbol="symbol", time=("time", NS_PER_MS), names={
            "price": "last", "change": "changePrice", "high": "high", "low": "low", "volume": "vol", "quote_volume": "volValue",
            "bid": "buy", "ask": "sell"})},
    FUTURES: {
        "rest_url": "https://api-futures.kucoin.com", "quantity_unit": QuantityUnit.CONTRACTS,
        "instruments_requests": [HttpRequest("/api/v1/contracts/active", weight=3)],
        "history_request": _history_request("/api/v1/trade/history", 5),
        "candles": Candles(request=futures_candles_request, parse=_candles_parser(NS_PER_MS, range(7)), rows_per_request=500,
                           reach_s=math.inf, tolerance=0.0, why=""),
        "books": _books("/api/v1/level2/depth100", 5, ("ts", 1)),
        "tickers": tickers_at("/api/v1/contracts/{}", weight=3, data=_data_in, symbol="symbol", names={
            "price": "lastTradePrice", "change": "priceChg", "high": "highPrice", "low": "lowPrice",
            "base_volume": "volumeOf24h", "quote_volume": "turnoverOf24h"})},
}


def _venue(market_type: str, limits: dict[str, Any], **facts: Any) -> Venue:
    return Venue(
        exchange="kucoin", market_type=market_type, headers={}, stale_after_s=60, id_kind=IdKind.MONOTONIC, timestamp_unit_ns=1,
        heartbeat=Heartbeat(interval_s=18, text=ping), parse=parse, read_control=read_control,
        limits=Limits(message_bytes=8000, connection_bytes=0, subscriptions_per_hour=0, connection_age_s=23 * 3600,
                      requests_per_minute=4000, request_window_s=30, shared_by_markets=True, **limits),
        parse_instruments=parse_instruments, history=HistoryDepth(rows_per_request=100, pages=False, reach_s=0),
        parse_history=parse_history, **MARKETS[market_type], **facts,
    )


CLASSIC_LIMITS = {"symbols_per_connection": 300, "symbols_per_message": 100, "messages_per_second": 10,
                  "connects_per_second": 0.5, "connects_per_5_minutes": 150}
TOKENLESS_LIMITS = {"symbols_per_connection": 200, "symbols_per_message": 1, "messages_per_second": 30,
                    "connects_per_second": 0.8, "connects_per_5_minutes": 250}


def _classic_venue(market_type: str, ws_url: str) -> Venue:
    token = HttpRequest("/api/v1/bullet-public", method="POST", weight=10)
    return _venue(market_type, CLASSIC_LIMITS, ws_url=ws_url, session=Session(token, _address_with_token(ws_url), welcome=True),
                  subscribe=_classic_request(market_type, "subscribe"), unsubscribe=_classic_request(market_type, "unsubscribe"))


def _tokenless_venue(market_type: str, ws_url: str) -> Venue:
    return _venue(market_type, TOKENLESS_LIMITS, variant="tokenless", ws_url=ws_url,
                  session=Session(None, lambda body, address, connection: address, welcome=True),
                  subscribe=_tokenless_request(market_type, "SUBSCRIBE"),
                  unsubscribe=_tokenless_request(market_type, "UNSUBSCRIBE"))


VENUES = [
    _classic_venue(SPOT, "wss://ws-api-spot.kucoin.com/"),
    _classic_venue(FUTURES, "wss://ws-api-futures.kucoin.com/"),
    _tokenless_venue(SPOT, "wss://x-push-spot.kucoin.com"),
    _tokenless_venue(FUTURES, "wss://x-push-futures.kucoin.com"),
]


@hookimpl
def exchange_venues() -> list[Venue]:
    """Return both markets in both protocols."""
    return VENUES
