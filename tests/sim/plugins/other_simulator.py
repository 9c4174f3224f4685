"""A made-up exchange whose protocol is nothing like Binance's: what a dialect must be able to say.

A token by HTTP POST for each connection, a welcome, text pings that are due, several symbols refused or accepted
together, past trades on subscribing, several trades a frame, and all of it in binary frames.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

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


def open_(session: ClientSession, rules: Rules) -> Reply | HttpReply:
    if not session.memory.get("tokens", {}).pop(session.query.get("token"), None):
        return HttpReply(401, b"token is expired")
    return Reply(['{"type":"welcome"}'])


def receive(session: ClientSession, message: Message, rules: Rules, history: History) -> Reply:
    if message == "ping":
        return Reply(["pong"])
    wanted = json.loads(message)["subscribe"]
    unknown = [name for name in wanted if name not in history.table.index]
    if unknown:
        return Reply([json.dumps({"error": f"unknown {unknown[0]}, nothing subscribed"})])
    if len(session.topics) + len(wanted) > rules.streams_per_connection:
        return Reply([], (4000, "subscription limit exceeded"))
    session.topics.update((name, name) for name in wanted)
    past = [history.recent(history.table.index[name], 50) for name in wanted]
    return Reply(['{"type":"ack"}', *(Past(_frame("snapshot", rows), rows) for rows in past if len(rows))])


def encode(form: str, rows: Rows) -> list[bytes]:
    return [_frame("update", rows)]


def _frame(kind: str, rows: Rows) -> bytes:
    trades = list(zip(rows.trade_id.tolist(), rows.timestamp.tolist(), rows.price_texts(), rows.quantity_texts(),
                      strict=True))
    return json.dumps({"type": kind, "symbol": rows.symbols()[0], "trades": trades}).encode()


def symbols(coins: Sequence[Coin]) -> list[SymbolSpec]:
    return [SymbolSpec(symbol=f"{coin.name}-USDT", coin=coin.name, base=coin.name, quote="USDT", price=coin.price,
                       price_decimals=4, quantity_decimals=0, contract_size=0.001) for coin in coins]


def rest(call: HttpCall, rules: Rules, history: History, meter: Meter) -> HttpReply:
    if (call.method, call.path) != ("POST", "/token"):
        return HttpReply(405)
    tokens = call.memory.setdefault("tokens", {})
    tokens[f"t{len(tokens)}-{call.now_ns}"] = True
    return HttpReply(200, json.dumps({"token": list(tokens)[-1], "body": call.body.decode()}).encode())


def maintenance(form: str, now_ns: int) -> None:
    return None


def read_tape(raw: bytes) -> list[TapeTrade]:
    frame = json.loads(raw)
    return [TapeTrade(symbol=frame["symbol"], trade_id=number, timestamp_ns=at, price=price, quantity=quantity,
                      sell=False) for number, at, price, quantity in frame["trades"]]


def reframe(form: str, raw: bytes) -> bytes:
    return raw


@hookimpl
def simulator_dialects() -> list[Dialect]:
    return [Dialect(
        exchange="other", market_type=SPOT, ws_path="/feed", rest_path="/rest", first_id=1, timestamp_unit_ns=1,
        rules=Rules(messages_per_second=0, messages_close=(1008, ""), streams_per_connection=3,
                         connects_per_5_minutes=0, ping_every_s=0, pong_within_s=0, client_silence_s=1.5, connection_age_s=0,
                         requests_per_minute=0),
        flag_shares={}, trades_per_frame=4, binary=True, stamps=(), symbols=symbols, open=open_, receive=receive,
        encode=encode, rest=rest, maintenance=maintenance, read_tape=read_tape, reframe=reframe)]
