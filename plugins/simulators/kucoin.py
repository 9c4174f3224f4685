"""Simulate KuCoin spot and USDT futures: the classic protocol with tokens, the tokenless one, symbol lists and history.

Based on the same documents as the exchange plugin.
- Classic: a token is valid for one connection; any other gets a 401 and the connection is closed. The welcome message comes
  first. Unknown symbols are acknowledged and stay silent. More than 100 symbols per topic, or 400 per spot session, are
  rejected. A second subscription to a futures symbol sends its last trades again, as after a reconnect. A connection
  without a ping for 60 s is closed.
- Tokenless, on the path `/tokenless`: binary frames, one symbol per request, 600 symbols per connection.
- An address may connect 30 times a minute, for both markets and both protocols together.
- REST has the documented weights, 2,000 per 30 seconds; requests above that get status 429 and code 429000. Candles omit
  minutes without a trade. If a range is longer than 1,500 candles (500 on futures), the newest are returned.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import unquote

from pumpwatch import (
    FUTURES,
    SPOT,
    ClientSession,
    Coin,
    Dialect,
    History,
    HttpCall,
    HttpReply,
    Message,
    Meter,
    Past,
    Reply,
    Rows,
    Rules,
    Stamp,
    SymbolSpec,
    TapeTrade,
    hookimpl,
)

TOPICS = {SPOT: "/market/match:", FUTURES: "/contractMarket/execution:"}
SYMBOLS_PER_TOPIC = 100
REPLAYED_TRADES = 3
OLD_NAMES = {"BTC": "XBT"}
THOUSANDS = {"BONK": ("1000", 1000), "CAT": ("10000", 10_000), "MOG": ("1000000", 1_000_000), "BABYDOGE": ("1M", 1_000_000)}
ORDER = "671b5007389355000701b1d3"
SPOT_FRAME = ('{"topic":"/market/match:%s","type":"message","subject":"trade.l3match","data":{"makerOrderId":"' + ORDER + '",'
              '"price":"%s","sequence":"%d","side":"%s","size":"%s","symbol":"%s","takerOrderId":"' + ORDER + '",'
              '"time":"%d","tradeId":"%s","type":"match"}}')
FUTURES_FRAME = ('{"topic":"/contractMarket/execution:%s","type":"message","subject":"match","sn":%d,"data":{"symbol":"%s",'
                 '"sequence":%d,"side":"%s","size":%s,"price":"%s","takerOrderId":"247822202957807616",'
                 '"makerOrderId":"247822167163555840","tradeId":"%s","ts":%d}}')
TOKENLESS_FRAME = '{"T":"trade.%s","P":%d,"d":{"E":%d,"M":%d,"S":"%s","p":"%s","q":"%s","s":"%s","ti":"%s"}}'
WEIGHTS = {"/api/v1/bullet-public": 10, "/api/v2/symbols": 4, "/api/v1/contracts/active": 3, "/api/v1/market/histories": 3,
           "/api/v1/trade/history": 5, "/api/v1/market/allTickers": 15, "/api/v1/market/candles": 3, "/api/v1/kline/query": 3,
           "/api/v1/market/orderbook/level2_20": 2, "/api/v1/market/orderbook/level2_100": 4, "/api/v1/level2/depth20": 5,
           "/api/v1/level2/depth100": 5, "/api/v1/market/stats": 15}
CONTRACT = "/api/v1/contracts/"
LISTS = {True: "/api/v2/symbols", False: "/api/v1/contracts/active"}
HISTORIES = {True: "/api/v1/market/histories", False: "/api/v1/trade/history"}
CANDLES = {True: "/api/v1/market/candles", False: "/api/v1/kline/query"}
BOOKS = {True: "/api/v1/market/orderbook/level2_", False: "/api/v1/level2/depth"}
DEPTH, MINUTE_NS = 100, 60 * 10**9


def _text(**message: Any) -> str:
    return json.dumps(message, separators=(",", ":"))


def _open(session: ClientSession, rules: Rules) -> Reply | HttpReply:
    if session.path == "/tokenless":
        session.form = "tokenless"
        session.rules = dataclasses.replace(rules, messages_per_second=30, streams_per_connection=600)
        return Reply([_text(sessionId="9f2c5f0e", message="welcome", pingInterval=18000).encode()])
    if session.path != "/":
        return HttpReply(404)
    number = session.query.get("connectId", "")
    if not session.memory.get("tokens", {}).pop(session.query.get("token"), None):
        return Reply([_text(id=number, type="error", code=401, data="token is expired")], (1000, "token is expired"))
    return Reply([_text(id=number, type="welcome")])


def _receiver(market_type: str) -> Callable[[ClientSession, Message, Rules, History], Reply]:
    def receive(session: ClientSession, message: Message, rules: Rules, history: History) -> Reply:
        try:
            request = json.loads(message)
        except ValueError:
            request = None
        if not isinstance(request, dict):
            request = {}
        if session.form == "tokenless":
            return Reply([text.encode() for text in _tokenless(market_type, session, request, rules, history)])
        number = request.get("id", "")
        if request.get("type") == "ping":
            return Reply([_text(id=number, type="pong")])
        return Reply(_classic(market_type, session, request, rules, history))

    return receive


def _classic(market_type: str, session: ClientSession, request: dict[str, Any], rules: Rules,
             history: History) -> list[Message | Past]:
    number, topic, kind = request.get("id", ""), request.get("topic"), request.get("type")
    if kind not in ("subscribe", "unsubscribe") or not isinstance(topic, str):
        return [_text(id=number, type="error", code=400, data="type is not supported")]
    if not topic.startswith(TOPICS[market_type]):
        return [_text(id=number, type="error", code=404, data=f"topic {topic[:60]} is not found")]
    symbols = topic.removeprefix(TOPICS[market_type]).split(",")
    if len(symbols) > SYMBOLS_PER_TOPIC:
        return [_text(id=number, type="error", code=509,
                      data=f"exceed max symbols count limitation of {SYMBOLS_PER_TOPIC} per topic")]
    if kind == "unsubscribe":
        for symbol in symbols:
            session.topics.pop(symbol, None)
        return _acknowledged(number, request)
    if 0 < rules.streams_per_connection < len(session.topics.keys() | set(symbols)):
        return [_text(id=number, type="error", code=509, data="exceed max subscription count limitation of "
                                                               f"{rules.streams_per_connection} per session")]
    session.topics.update((symbol, symbol if symbol in history.table.index else "") for symbol in symbols)
    return [*_acknowledged(number, request), *(_replayed(session, symbols, history) if market_type == FUTURES else [])]


def _acknowledged(number: Any, request: dict[str, Any]) -> list[Message | Past]:
    return [_text(id=number, type="ack")] if request.get("response") else []


def _replayed(session: ClientSession, symbols: Sequence[str], history: History) -> list[Past]:
    """Return the last trades of those symbols that any connection subscribed to earlier."""
    known: set[str] = session.memory.setdefault("subscribed", set())
    recent = [history.recent(history.table.index[symbol], REPLAYED_TRADES) for symbol in symbols
             if symbol in known and symbol in history.table.index]
    known.update(symbols)
    return [Past(frame.decode(), rows.take(slice(row, row + 1)))
            for rows in recent for row, frame in enumerate(_encode_futures("plain", rows))]


def _tokenless(market_type: str, session: ClientSession, request: dict[str, Any], rules: Rules,
               history: History) -> list[str]:
    number, symbol = request.get("id", ""), request.get("symbol")
    if request.get("type") == "ping":
        return [_text(type="pong", id=number)]
    if request.get("channel") != "trade" or request.get("tradeType") != market_type.upper() or not isinstance(symbol, str):
        return [_text(id=number, result=False, code="400100", msg="invalid parameter")]
    action = str(request.get("action")).upper()  # lower case in ccxt, upper case in the documents
    if action == "UNSUBSCRIBE":
        session.topics.pop(symbol, None)
        return [_text(id=number, result=True)]
    if action != "SUBSCRIBE" or 0 < rules.streams_per_connection <= len(session.topics):
        return [_text(id=number, result=False, code="400100",
                      msg=f"exceed max topics count limitation of {rules.streams_per_connection} per session")]
    session.topics[symbol] = symbol if symbol in history.table.index else ""
    return [_text(id=number, result=True)]


def _encode_spot(form: str, rows: Rows) -> list[bytes]:
    if form == "tokenless":
        return _encode_tokenless("SPOT", rows)
    return [(SPOT_FRAME % (name, price, number, "sell" if sell else "buy", quantity, name, at, trade_id)).encode()
            for name, price, number, sell, quantity, at, trade_id in _columns(rows)]


def _encode_futures(form: str, rows: Rows) -> list[bytes]:
    if form == "tokenless":
        return _encode_tokenless("FUTURES", rows)
    return [(FUTURES_FRAME % (name, number, name, number, "sell" if sell else "buy", quantity, price, trade_id, at)).encode()
            for name, price, number, sell, quantity, at, trade_id in _columns(rows)]


def _encode_tokenless(kind: str, rows: Rows) -> list[bytes]:
    return [(TOKENLESS_FRAME % (kind, at, number, at, "sell" if sell else "buy", price, quantity, name, trade_id)).encode()
            for name, price, number, sell, quantity, at, trade_id in _columns(rows)]


def _columns(rows: Rows) -> Any:
    return zip(rows.symbols(), rows.price_texts(), rows.sequences(), rows.sell.tolist(), rows.quantity_texts(),
               rows.timestamp.tolist(), rows.ids(), strict=True)


def _read_tape(raw: bytes) -> list[TapeTrade]:
    frame = json.loads(raw)
    if frame.get("subject") not in ("trade.l3match", "match"):
        return []
    row = frame["data"]
    return [TapeTrade(symbol=row["symbol"], trade_id=int(row["sequence"]), timestamp_ns=int(row.get("time") or row["ts"]),
                      price=str(row["price"]), quantity=str(row["size"]), sell=row["side"] == "sell")]


def _answer(data: Any) -> HttpReply:
    return HttpReply(200, json.dumps({"code": "200000", "data": data}, ensure_ascii=False).encode(),
                     {"Content-Type": "application/json"})


def _error(code: str, text: str, status: int = 200) -> HttpReply:
    return HttpReply(status, json.dumps({"code": code, "msg": text}).encode(), {"Content-Type": "application/json"})


def _rest_of(*, spot: bool) -> Callable[[HttpCall, Rules, History, Meter], HttpReply]:
    """Return the function that answers the REST requests of a market."""

    def rest(call: HttpCall, rules: Rules, history: History, meter: Meter) -> HttpReply:
        weight = WEIGHTS.get(call.path, 3 if call.path.startswith(CONTRACT) else None)
        if weight is None:
            return _error("404000", "Url Not Found", 404)
        if meter.spend(weight) > rules.requests > 0:
            return _error("429000", "Too many requests", 429)
        if call.path == "/api/v1/bullet-public":
            return _token(call) if call.method == "POST" else _error("405000", "Method Not Allowed", 405)
        if call.path == LISTS[spot]:
            rows = [_row(spot, spec, volume) for spec, volume in zip(history.table.specs, history.table.volumes, strict=True)]
            return _answer(rows + (_spot_extras() if spot else _futures_extras()))
        if spot and call.path == "/api/v1/market/allTickers":
            rows = [{"symbol": spec.symbol, "symbolName": spec.symbol, "volValue": str(volume)}
                    for spec, volume in zip(history.table.specs, history.table.volumes, strict=True)]
            return _answer({"time": call.now_ns // 1_000_000, "ticker": [*rows, {"symbol": "LUNA-USDT", "volValue": None}]})
        if call.path == "/api/v1/market/stats" if spot else call.path.startswith(CONTRACT):
            return _ticker(call, spot, history)
        if call.path == HISTORIES[spot]:
            return _trades(call, spot, history)
        if call.path == CANDLES[spot]:
            return _candles(call, spot, history)
        if call.path.rstrip("0123456789") == BOOKS[spot]:
            return _book(call, spot, history)
        return _error("404000", "Url Not Found", 404)

    return rest


def _token(call: HttpCall) -> HttpReply:
    """Answer with a token that is valid for one connection."""
    number = call.memory["made"] = call.memory.get("made", 0) + 1
    token = f"2neAiuYvAU61ZDXANAGAsiL4+{call.now_ns}/{number}=="
    call.memory.setdefault("tokens", {})[token] = True
    server = {"endpoint": f"wss://{call.headers.get('host', '')}/", "encrypt": True, "protocol": "websocket",
              "pingInterval": 18000, "pingTimeout": 10000}
    return _answer({"token": token, "instanceServers": [server]})


def _row(spot: bool, spec: SymbolSpec, volume: float = 0.0) -> dict[str, Any]:
    if spot:
        return {"symbol": spec.symbol, "name": spec.symbol, "baseCurrency": spec.base, "quoteCurrency": spec.quote,
                "feeCurrency": spec.quote, "market": "USDS", "baseIncrement": "0.00000001", "priceIncrement": "0.0000000001",
                "enableTrading": True, "st": False, "callauctionIsEnabled": False, "tradingStartTime": None}
    return {"symbol": spec.symbol, "rootSymbol": "USDT", "type": "FFWCSX", "expireDate": None, "settleDate": None,
            "baseCurrency": spec.base, "displayBaseCurrency": spec.base, "quoteCurrency": spec.quote,
            "settleCurrency": spec.quote, "lotSize": 1, "multiplier": spec.contract_size, "isQuanto": True,
            "isInverse": False, "status": "Open", "turnoverOf24h": volume, "markPrice": spec.price, "makerFeeRate": 0.0002,
            "takerFeeRate": 0.0006, "tickSize": 10.0**-spec.price_decimals, "maxOrderQty": 1_000_000, "maxPrice": 1_000_000.0,
            "maxLeverage": 50, "firstOpenDate": 1758175736000, "nextFundingRateTime": 18_000_000}


def _spot_extras() -> list[dict[str, Any]]:
    plain = _row(True, SymbolSpec(symbol="LUNA-USDT", coin="LUNA", base="LUNA", quote="USDT", price=1.0, price_decimals=4,
                                  quantity_decimals=4))
    return [plain | {"enableTrading": False}, plain | {"symbol": "ETH-BTC", "name": "ETH-BTC", "quoteCurrency": "BTC"},
            plain | {"symbol": "BTC-USDC", "name": "BTC-USDC", "quoteCurrency": "USDC"}]


def _futures_extras() -> list[dict[str, Any]]:
    plain = _row(False, SymbolSpec(symbol="RAYUSDTM", coin="RAY", base="RAY", quote="USDT", price=1.0, price_decimals=4,
                                   quantity_decimals=0))
    inverse = {"symbol": "XBTUSDM", "baseCurrency": "XBT", "quoteCurrency": "USD", "settleCurrency": "XBT", "isInverse": True,
               "multiplier": -1.0}
    dated = {"symbol": "XBTMZ26", "type": "FFICSX", "expireDate": 1798185600000, "baseCurrency": "XBT",
             "nextFundingRateTime": None}
    other = {"symbol": "ETHUSDCM", "baseCurrency": "ETH", "quoteCurrency": "USDC", "settleCurrency": "USDC"}
    return [plain | {"status": "Paused"}, plain | inverse, plain | dated, plain | other]


def _trades(call: HttpCall, spot: bool, history: History) -> HttpReply:
    """Return the last trades: oldest first on spot, newest first on futures."""
    symbol = history.table.index.get(call.query.get("symbol", ""))
    if symbol is None:
        return _error("900001" if spot else "100001", "symbol not exists")
    rows = history.recent(symbol, DEPTH)
    found = []
    for _, price, number, sell, quantity, at, trade_id in _columns(rows):
        side = "sell" if sell else "buy"
        if spot:
            found.append({"sequence": str(number), "price": price, "size": quantity, "side": side, "time": at})
        else:
            found.append({"sequence": number, "contractId": symbol + 1, "tradeId": trade_id, "ts": at, "size": int(quantity),
                          "price": price, "side": side})
    return _answer(found if spot else found[::-1])


def _ticker(call: HttpCall, spot: bool, history: History) -> HttpReply:
    """Answer with the statistics of a spot symbol, or with the row of a contract, whose volume is in base units."""
    name = call.query.get("symbol", "") if spot else unquote(call.path.removeprefix(CONTRACT))
    symbol = history.table.index.get(name)
    if symbol is None:
        return _error("900001" if spot else "100001", "symbol not exists")
    made, spec = history.ticker(symbol, call.now_ns), history.table.specs[symbol]
    change = history.table.price_text(symbol, abs(made.last - made.open))
    signed = f"-{change}" if made.last < made.open else change
    if spot:
        return _answer({"time": made.at_ns // 10**6, "symbol": name, "buy": made.text("bid"), "sell": made.text("ask"),
                        "changePrice": signed, "high": made.text("high"), "low": made.text("low"), "vol": made.volume,
                        "volValue": f"{made.turnover:.8f}", "last": made.text("last")})
    return _answer(_row(False, spec, made.turnover) | {
        "lastTradePrice": float(made.text("last")), "priceChg": float(signed), "highPrice": float(made.text("high")),
        "lowPrice": float(made.text("low")), "volumeOf24h": float(made.volume) * spec.contract_size})


def _book(call: HttpCall, spot: bool, history: History) -> HttpReply:
    """Answer with 20 or 100 levels: text on spot, whole lots on futures, with a time in ms and in ns."""
    symbol, levels = history.table.index.get(call.query.get("symbol", "")), int(call.path.rpartition("_" if spot else "h")[2])
    if symbol is None:
        return _error("900001" if spot else "100001", "symbol not exists")
    book = history.book(symbol, call.now_ns)
    sides: dict[str, Any] = {side: [[price, quantity if spot else int(quantity)] for price, quantity in book.texts(side, levels)]
                             for side in ("bids", "asks")}
    if spot:
        return _answer({"time": call.now_ns // 10**6, "sequence": str(book.number), **sides})
    return _answer({"sequence": book.number, "symbol": book.table.symbols[book.symbol], **sides, "ts": call.now_ns})


def _candles(call: HttpCall, spot: bool, history: History) -> HttpReply:
    """Return the minutes of a range: newest first and as text on spot, oldest first and as numbers on futures."""
    symbol, kind = history.table.index.get(call.query.get("symbol", "")), call.query.get("type" if spot else "granularity")
    names, unit, most = (("startAt", "endAt"), 10**9, 1500) if spot else (("from", "to"), 10**6, 500)
    start, end = (call.query.get(name, "0") for name in names)
    if symbol is None:
        return _error("900001" if spot else "100001", "symbol not exists")
    if kind != ("1min" if spot else "1") or not (start.isdecimal() and end.isdecimal()):
        return _error("400100", "Incorrect candlestick type" if spot else "granularity invalid")
    table, size = history.table, history.table.specs[symbol].contract_size
    end_ns = (int(end) or 2**62 // unit) * unit
    first = -(-int(start) * unit // MINUTE_NS) * MINUTE_NS
    rows = []
    for bar in history.minutes(symbol, first, end_ns // MINUTE_NS * MINUTE_NS + MINUTE_NS)[-most:]:
        opened, high, low, last = (table.price_text(symbol, price) for price in (bar.open, bar.high, bar.low, bar.close))
        volume, at = table.quantity_text(symbol, bar.quantity), bar.start_ns // unit
        rows.append([str(at), opened, last, high, low, volume, f"{bar.quote:.8f}"] if spot else
                    [at, float(opened), float(high), float(low), float(last), int(volume), round(bar.quote * size, 4)])
    return _answer(rows[::-1] if spot else rows)


def _spot_symbols(coins: Sequence[Coin]) -> list[SymbolSpec]:
    return [SymbolSpec(symbol=f"{coin.name}-USDT", coin=coin.name, base=coin.name, quote="USDT", price=coin.price,
                       price_decimals=10, quantity_decimals=8) for coin in coins]


def _futures_symbols(coins: Sequence[Coin]) -> list[SymbolSpec]:
    specs = []
    for coin in coins:
        prefix, multiplier = THOUSANDS.get(coin.name, ("", 1))
        base, price = prefix + OLD_NAMES.get(coin.name, coin.name), coin.price * multiplier
        lot = float(f"1e{1 - math.floor(math.log10(price))}")  # 10 to 100 USDT: 0.001 BTC
        specs.append(SymbolSpec(symbol=f"{base}USDTM", coin=coin.name, base=base, quote="USDT", price=price, price_decimals=10,
                                quantity_decimals=0, contract_size=lot))
    return specs


def _rules(streams: int) -> Rules:
    return Rules(messages_per_second=10, messages_close=(1008, "exceed max permits per second"),
                      streams_per_connection=streams, message_window_s=10, connects_per_5_minutes=0, connects_per_minute=30,
                      connections=800, ping_every_s=0,
                      pong_within_s=0, client_silence_s=60, connection_age_s=0, requests_per_minute=4000, request_window_s=30,
                      shared_by_markets=True)


def _dialect(market_type: str, first_id: int, stamps: tuple[Stamp, ...], symbols: Any, encode: Any, streams: int) -> Dialect:
    return Dialect(
        exchange="kucoin", market_type=market_type, ws_path="/", rest_path="", rules=_rules(streams), first_id=first_id,
        timestamp_unit_ns=1, flag_shares={}, trades_per_frame=1, binary=False, binary_forms=frozenset({"tokenless"}),
        variants={"tokenless": "/tokenless"}, stamps=stamps, symbols=symbols, open=_open, receive=_receiver(market_type),
        encode=encode, rest=_rest_of(spot=market_type == SPOT), maintenance=lambda form, now_ns: None, read_tape=_read_tape,
        reframe=lambda form, raw: raw, listed=850 if market_type == SPOT else 470)


def _stamps(*places: tuple[bytes, str, int]) -> tuple[Stamp, ...]:
    return tuple(Stamp(marker=marker, what=what, digits=digits) for marker, what, digits in places)


SPOT_STAMPS = _stamps((b'"sequence":"', "id", 17), (b'"tradeId":"', "id", 17), (b'"time":"', "time", 19))
FUTURES_STAMPS = _stamps((b'"sn":', "id", 13), (b'"sequence":', "id", 13), (b'"tradeId":"', "id", 13), (b'"ts":', "time", 19))


@hookimpl
def simulator_dialects() -> list[Dialect]:
    """Return both markets; frames that are built in advance use the classic protocol."""
    return [_dialect(SPOT, 11_067_996_711_960_577, SPOT_STAMPS, _spot_symbols, _encode_spot, 400),
            _dialect(FUTURES, 1_794_100_537_695, FUTURES_STAMPS, _futures_symbols, _encode_futures, 0)]
