"""KuCoin spot and USDT futures as a server: the classic protocol with its tokens, and the tokenless one on a path of its own.

From the same documents as the exchange plugin. Classic: a token is good for one connection, any other is told 401 and
closed; the welcome comes first; unknown symbols are acknowledged and silent; more than 100 symbols a topic or 400 a spot
session are refused; who subscribes again to a future gets its last trades once more, as after a reconnect. Without a ping
for 60 s the connection ends. An address connects 30 times a minute, both markets and both protocols together. Tokenless, on
`/tokenless`: binary frames, one symbol a request, 600 of them.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Sequence
from typing import Any

from pumpwatch_plugins.simulators.kucoin_rest import rest_of

from pumpwatch import (
    FUTURES,
    SPOT,
    ClientSession,
    Coin,
    Dialect,
    History,
    HttpReply,
    Message,
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
REPLAYED = 3
OLD_NAMES = {"BTC": "XBT"}
THOUSANDS = {"BONK": ("1000", 1000), "CAT": ("10000", 10_000), "MOG": ("1000000", 1_000_000), "BABYDOGE": ("1M", 1_000_000)}
ORDER = "671b5007389355000701b1d3"
SPOT_FRAME = ('{"topic":"/market/match:%s","type":"message","subject":"trade.l3match","data":{"makerOrderId":"' + ORDER + '",'
              '"price":"%s","sequence":"%d","side":"%s","size":"%s","symbol":"%s","takerOrderId":"' + ORDER + '",'
              '"time":"%d","tradeId":"%d","type":"match"}}')
FUTURES_FRAME = ('{"topic":"/contractMarket/execution:%s","type":"message","subject":"match","sn":%d,"data":{"symbol":"%s",'
                 '"sequence":%d,"side":"%s","size":%s,"price":"%s","takerOrderId":"247822202957807616",'
                 '"makerOrderId":"247822167163555840","tradeId":"%d","ts":%d}}')
TOKENLESS_FRAME = '{"T":"trade.%s","P":%d,"d":{"E":%d,"M":%d,"S":"%s","p":"%s","q":"%s","s":"%s","ti":"%d"}}'


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
            return Reply([one.encode() for one in _tokenless(market_type, session, request, rules, history)])
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
    """Return the last trades of symbols that were subscribed to before, on any connection."""
    known: set[str] = session.memory.setdefault("subscribed", set())
    again = [history.recent(history.table.index[symbol], REPLAYED) for symbol in symbols
             if symbol in known and symbol in history.table.index]
    known.update(symbols)
    return [Past(frame.decode(), rows.take(slice(row, row + 1)))
            for rows in again for row, frame in enumerate(_encode_futures("plain", rows))]


def _tokenless(market_type: str, session: ClientSession, request: dict[str, Any], rules: Rules,
               history: History) -> list[str]:
    number, symbol = request.get("id", ""), request.get("symbol")
    if request.get("type") == "ping":
        return [_text(type="pong", id=number)]
    if request.get("channel") != "trade" or request.get("tradeType") != market_type.upper() or not isinstance(symbol, str):
        return [_text(id=number, result=False, code="400100", msg="invalid parameter")]
    if request.get("action") == "UNSUBSCRIBE":
        session.topics.pop(symbol, None)
        return [_text(id=number, result=True)]
    if request.get("action") != "SUBSCRIBE" or 0 < rules.streams_per_connection <= len(session.topics):
        return [_text(id=number, result=False, code="400100",
                      msg=f"exceed max topics count limitation of {rules.streams_per_connection} per session")]
    session.topics[symbol] = symbol if symbol in history.table.index else ""
    return [_text(id=number, result=True)]


def _encode_spot(form: str, rows: Rows) -> list[bytes]:
    if form == "tokenless":
        return _encode_tokenless("SPOT", rows)
    return [(SPOT_FRAME % (name, price, number, "sell" if sell else "buy", quantity, name, at, number)).encode()
            for name, price, number, sell, quantity, at in _columns(rows)]


def _encode_futures(form: str, rows: Rows) -> list[bytes]:
    if form == "tokenless":
        return _encode_tokenless("FUTURES", rows)
    return [(FUTURES_FRAME % (name, number, name, number, "sell" if sell else "buy", quantity, price, number, at)).encode()
            for name, price, number, sell, quantity, at in _columns(rows)]


def _encode_tokenless(kind: str, rows: Rows) -> list[bytes]:
    return [(TOKENLESS_FRAME % (kind, at, number, at, "sell" if sell else "buy", price, quantity, name, number)).encode()
            for name, price, number, sell, quantity, at in _columns(rows)]


def _columns(rows: Rows) -> Any:
    return zip(rows.symbols(), rows.price_texts(), rows.trade_id.tolist(), rows.sell.tolist(), rows.quantity_texts(),
               rows.timestamp.tolist(), strict=True)


def _read_tape(raw: bytes) -> list[TapeTrade]:
    frame = json.loads(raw)
    if frame.get("subject") not in ("trade.l3match", "match"):
        return []
    row = frame["data"]
    return [TapeTrade(symbol=row["symbol"], trade_id=int(row["sequence"]), timestamp_ns=int(row.get("time") or row["ts"]),
                      price=str(row["price"]), quantity=str(row["size"]), sell=row["side"] == "sell")]


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
    return Rules(messages_per_second=10, messages_close=(1008, "exceed max permits per second"), streams_per_connection=streams,
                 message_window_s=10, connects_per_5_minutes=0, connects_per_minute=30, connections=800, ping_every_s=0,
                 pong_within_s=0, client_silence_s=60, connection_age_s=0, requests_per_minute=4000, request_window_s=30,
                 shared_by_markets=True)


def _dialect(market_type: str, first_id: int, stamps: tuple[Stamp, ...], symbols: Any, encode: Any, streams: int) -> Dialect:
    return Dialect(
        exchange="kucoin", market_type=market_type, ws_path="/", rest_path="", rules=_rules(streams), first_id=first_id,
        timestamp_unit_ns=1, flag_shares={}, trades_per_frame=1, binary=False, binary_forms=frozenset({"tokenless"}),
        variants={"tokenless": "/tokenless"}, stamps=stamps, symbols=symbols, open=_open, receive=_receiver(market_type),
        encode=encode,
        rest=rest_of(spot=market_type == SPOT), maintenance=lambda form, now_ns: None, read_tape=_read_tape,
        reframe=lambda form, raw: raw, listed=850 if market_type == SPOT else 470)


def _stamps(*places: tuple[bytes, str, int]) -> tuple[Stamp, ...]:
    return tuple(Stamp(marker=marker, what=what, digits=digits) for marker, what, digits in places)


SPOT_STAMPS = _stamps((b'"sequence":"', "id", 17), (b'"tradeId":"', "id", 17), (b'"time":"', "time", 19))
FUTURES_STAMPS = _stamps((b'"sn":', "id", 13), (b'"sequence":', "id", 13), (b'"tradeId":"', "id", 13), (b'"ts":', "time", 19))


@hookimpl
def simulator_dialects() -> list[Dialect]:
    """Return both markets; frames made beforehand are of the classic protocol."""
    return [_dialect(SPOT, 11_067_996_711_960_577, SPOT_STAMPS, _spot_symbols, _encode_spot, 400),
            _dialect(FUTURES, 1_794_100_537_695, FUTURES_STAMPS, _futures_symbols, _encode_futures, 0)]
