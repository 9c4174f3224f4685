"""Upbit's KRW market as a server, from the same documents as the exchange plugin.

Enforced as documented: 5 messages a second and 120 s of silence end a connection; a request takes the place of the one
before, is not acknowledged, and brings each code's last trade as SNAPSHOT. Codes nobody lists are silent.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from pumpwatch import (
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
    SymbolSpec,
    TapeTrade,
    hookimpl,
)

KRW = 1400  # a USDT
FRAME = ('{"type":"trade","code":"%s","timestamp":%d,"trade_date":"%s","trade_time":"%s","trade_timestamp":%d,'
         '"trade_price":%s,"trade_volume":%s,"ask_bid":"%s","prev_closing_price":%s,"change":"EVEN","change_price":0.0,'
         '"sequential_id":%d,"stream_type":"%s"}')


def _open(session: ClientSession, rules: Rules) -> Reply | HttpReply:
    return Reply() if session.path == "/websocket/v1" else HttpReply(404)


def _receive(session: ClientSession, message: Message, rules: Rules, history: History) -> Reply:
    if message in ("PING", b"PING"):
        return Reply(['{"status":"UP"}'])
    try:
        fields = json.loads(message)
    except ValueError:
        return _error("WRONG_FORMAT", "Format이 맞지 않습니다.")
    if not isinstance(fields, list) or not all(isinstance(one, dict) for one in fields):
        return _error("WRONG_FORMAT", "Format이 맞지 않습니다.")
    if not any("ticket" in one for one in fields):
        return _error("NO_TICKET", "티켓이 존재하지 않습니다.")
    kinds = [one for one in fields if "type" in one]
    if not kinds:
        return _error("NO_TYPE", "타입이 존재하지 않습니다.")
    codes = [code for one in kinds if one["type"] == "trade" for code in one.get("codes") or ()]
    if not codes or not all(isinstance(code, str) for code in codes):
        return _error("NO_CODES", "코드가 존재하지 않습니다.")
    session.topics = {code: code if code in history.table.index else "" for code in codes}
    last = [history.recent(history.table.index[code], 1) for code in session.topics if code in history.table.index]
    return Reply([Past(_frames(rows, "SNAPSHOT")[0], rows) for rows in last if len(rows)])


def _error(name: str, text: str) -> Reply:
    return Reply([json.dumps({"error": {"name": name, "message": text}}, ensure_ascii=False)])


def _encode(form: str, rows: Rows) -> list[bytes]:
    return _frames(rows, "REALTIME")


def _frames(rows: Rows, stream_type: str) -> list[bytes]:
    times = (rows.timestamp // 1_000_000).tolist()
    columns = zip(rows.symbols(), times, rows.price_texts(), rows.quantity_texts(), rows.sell.tolist(), rows.trade_id.tolist(),
                  strict=True)
    made = []
    for code, at, price, quantity, sell, number in columns:
        day, clock = datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S").split()
        made.append((FRAME % (code, at + 20, day, clock, at, price, quantity, "ASK" if sell else "BID", price, number,
                              stream_type)).encode())
    return made


def _rest(call: HttpCall, rules: Rules, history: History, meter: Meter) -> HttpReply:
    if meter.spend(1) > rules.requests_per_minute > 0:
        return HttpReply(429, b'{"error":{"name":"too_many_requests"}}', {"Retry-After": str(meter.retry_after_s())})
    if call.path == "/v1/market/all":
        listed = [{"market": symbol, "korean_name": "", "english_name": ""} for symbol in history.table.symbols]
        return _json([*listed, {"market": "BTC-ETH", "korean_name": "이더리움", "english_name": "Ethereum"}])
    if call.path != "/v1/trades/ticks":
        return HttpReply(404, b'{"error":{"name":404,"message":"no Route matched with those values"}}')
    symbol = history.table.index.get(call.query.get("market", ""))
    if symbol is None:
        return HttpReply(404, b'{"error":{"name":404,"message":"Code not found"}}')
    rows = history.recent(symbol, min(500, int(call.query.get("count", "1"))))
    fields = zip((rows.timestamp // 1_000_000).tolist(), rows.prices().tolist(), rows.quantities().tolist(), rows.sell.tolist(),
                 rows.trade_id.tolist(), strict=True)
    return _json([{"market": call.query["market"], "timestamp": at, "trade_price": price, "trade_volume": quantity,
                   "ask_bid": "ASK" if sell else "BID", "sequential_id": number}
                  for at, price, quantity, sell, number in fields][::-1])


def _json(body: Any) -> HttpReply:
    return HttpReply(200, json.dumps(body, ensure_ascii=False).encode())


def _symbols(coins: Sequence[Coin]) -> list[SymbolSpec]:
    return [SymbolSpec(symbol=f"KRW-{coin.name}", coin=coin.name, base=coin.name, quote="KRW", price=coin.price * KRW,
                       price_decimals=0 if coin.price * KRW >= 1000 else 6, quantity_decimals=8) for coin in coins]


def _maintenance(form: str, now_ns: int) -> bytes | None:
    return None


def _read_tape(raw: bytes) -> list[TapeTrade]:
    frame = json.loads(raw, parse_float=str, parse_int=str)
    if frame.get("type") != "trade":
        return []
    return [TapeTrade(symbol=frame["code"], trade_id=int(frame["sequential_id"]), price=frame["trade_price"],
                      timestamp_ns=int(frame["trade_timestamp"]) * 1_000_000, quantity=frame["trade_volume"],
                      sell=frame["ask_bid"] == "ASK")]


def _reframe(form: str, raw: bytes) -> bytes:
    return raw


RULES = Rules(messages_per_second=5, messages_close=(1008, "Too many requests"), streams_per_connection=0,
                   connects_per_5_minutes=1500, ping_every_s=0, pong_within_s=0, client_silence_s=120, connection_age_s=0,
                   requests_per_minute=600)


@hookimpl
def simulator_dialects() -> list[Dialect]:
    """Return the KRW market."""
    return [Dialect(
        exchange="upbit", market_type=SPOT, ws_path="/websocket/v1", rest_path="", rules=RULES, first_id=17_000_000_000_000_000,
        timestamp_unit_ns=1_000_000, flag_shares={}, trades_per_frame=1, binary=True, stamps=(), symbols=_symbols, open=_open,
        receive=_receive, encode=_encode, rest=_rest, maintenance=_maintenance, read_tape=_read_tape, reframe=_reframe)]
