"""Binance spot and USDⓈ-M futures as a server: raw `@trade` streams, their limits, and the REST side of history.

From the same documents and observations as the exchange plugin (2026): acknowledgements say nothing of whether data
flows: unknown symbols, other channels, and `@trade` on `/market` get `"result":null` and silence. On futures X="NA"
rows use up ids, and NA, INSURANCE_FUND and ADL rows are missing from REST. `@aggTrade` flows on `/market` and spot
alike on the real venue; here it is acknowledged and silent everywhere.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from pumpwatch_plugins.simulators.binance_rest import rest_of

from pumpwatch import (
    FUTURES,
    SPOT,
    VOID,
    ClientSession,
    Coin,
    Dialect,
    Flag,
    History,
    HttpReply,
    Message,
    Reply,
    Rows,
    Rules,
    Stamp,
    SymbolSpec,
    TapeTrade,
    hookimpl,
)

PATHS = re.compile(r"^(?P<route>/public|/market|/private)?/(?P<form>ws|stream)(?:/(?P<streams>.*))?$")
THOUSANDS = ("PEPE", "BONK", "FLOKI", "LUNC", "XEC", "RATS", "SATS", "SHIB")
EXECUTIONS = {0: "MARKET", VOID: "NA", Flag.INSURANCE_FUND.value: "INSURANCE_FUND", Flag.ADL.value: "ADL"}
FLAGS = {name: flag for flag, name in EXECUTIONS.items()}
SPOT_FRAME = '{"e":"trade","E":%d,"s":"%s","t":%d,"p":"%s","q":"%s","T":%d,"m":%s,"M":true}'
FUTURES_FRAME = '{"e":"trade","E":%d,"T":%d,"s":"%s","t":%d,"p":"%s","q":"%s","X":"%s","m":%s,"st":1}'
WRAPPED = '{"stream":"%s@trade","data":%s}'


def _open(session: ClientSession, rules: Rules) -> Reply | HttpReply:
    match = PATHS.match(session.path)
    if match is None:
        return HttpReply(404)
    session.form = "plain" if match["form"] == "ws" else "wrapped"
    session.notes["route"] = match["route"] or ""
    streams = (match["streams"] or session.query.get("streams", "")).split("/")
    for stream in filter(None, streams[:rules.streams_per_connection]):
        session.topics[stream] = _symbol_of(stream, session)
    return Reply()


def _symbol_of(stream: str, session: ClientSession) -> str:
    """Return the symbol whose trades a stream carries here, "" where it is acknowledged and silent."""
    name, _, channel = stream.partition("@")
    routed_away = session.notes["route"] in ("/market", "/private")
    return name.upper() if channel == "trade" and name == name.lower() and not routed_away else ""


def _receive(session: ClientSession, message: Message, rules: Rules, history: History) -> Reply:
    try:
        request = json.loads(message)
    except ValueError as error:
        return _refuse(3, f"Invalid JSON: {error}", None)
    if not isinstance(request, dict) or not isinstance(request.get("method"), str):
        return _refuse(2, "Invalid request: missing field `method`", None)
    number, method, params = request.get("id"), request["method"], request.get("params", [])
    if not isinstance(params, list) or not all(isinstance(one, str) for one in params):
        return _refuse(2, "Invalid request: params must be an array of strings", number)
    if method == "SUBSCRIBE":
        fresh = [stream for stream in params if stream not in session.topics]
        if len(session.topics) + len(fresh) > rules.streams_per_connection:
            return Reply([json.dumps({"error": {"code": 4, "msg": "Too many subscriptions"}, "id": number})])
        session.topics.update((stream, _symbol_of(stream, session)) for stream in fresh)
    elif method == "UNSUBSCRIBE":
        for stream in params:
            session.topics.pop(stream, None)
    elif method != "LIST_SUBSCRIPTIONS":
        return _refuse(2, f"Invalid request: unknown variant `{method}`, expected one of `SUBSCRIBE`, `UNSUBSCRIBE`, "
                          "`LIST_SUBSCRIPTIONS`, `SET_PROPERTY`, `GET_PROPERTY`", number)
    result = list(session.topics) if method == "LIST_SUBSCRIPTIONS" else None
    return Reply([json.dumps({"result": result, "id": number}, separators=(",", ":"))])


def _refuse(code: int, text: str, number: Any) -> Reply:
    return Reply([json.dumps({"code": code, "msg": text, "id": number}, separators=(",", ":"))])


def _encode_spot(form: str, rows: Rows) -> list[bytes]:
    times = (rows.timestamp // 1_000_000).tolist()
    names = rows.symbols()
    frames = [SPOT_FRAME % (at, name, number, price, quantity, at, "true" if sell else "false")
              for at, name, number, price, quantity, sell in
              zip(times, names, rows.trade_id.tolist(), rows.price_texts(), rows.quantity_texts(), rows.sell.tolist(),
                  strict=True)]
    return _wrap(form, names, frames)


def _encode_futures(form: str, rows: Rows) -> list[bytes]:
    times = (rows.timestamp // 1_000_000).tolist()
    names = rows.symbols()
    prices, quantities = rows.price_texts(), rows.quantity_texts()
    kinds = [EXECUTIONS[flag] for flag in rows.flags.tolist()]
    for row in (rows.flags == VOID).nonzero()[0].tolist():
        prices[row] = quantities[row] = "0"
    frames = [FUTURES_FRAME % (at, at, name, number, price, quantity, kind, "true" if sell else "false")
              for at, name, number, price, quantity, kind, sell in
              zip(times, names, rows.trade_id.tolist(), prices, quantities, kinds, rows.sell.tolist(), strict=True)]
    return _wrap(form, names, frames)


def _wrap(form: str, names: Sequence[str], frames: Sequence[str]) -> list[bytes]:
    if form == "wrapped":
        return [(WRAPPED % (name.lower(), frame)).encode() for name, frame in zip(names, frames, strict=True)]
    return [frame.encode() for frame in frames]


def _read_tape(raw: bytes) -> list[TapeTrade]:
    frame = json.loads(raw)
    data = frame.get("data", frame)
    if data.get("e") != "trade":
        return []
    return [TapeTrade(symbol=data["s"], trade_id=data["t"], timestamp_ns=data["T"] * 1_000_000, price=data["p"],
                      quantity=data["q"], sell=bool(data.get("m")), flags=FLAGS[data.get("X", "MARKET")])]


def _reframe(form: str, raw: bytes) -> bytes:
    wrapped = raw.startswith(b'{"stream":')
    if form == "plain" and wrapped:
        return raw[raw.index(b'"data":') + 7:raw.rindex(b"}")]
    if form == "wrapped" and not wrapped:
        return b'{"stream":"%s@trade","data":%s}' % (json.loads(raw)["s"].lower().encode(), raw)
    return raw


def _maintenance(form: str, now_ns: int) -> bytes:
    event = b'{"e":"serverShutdown","E":%d}' % (now_ns // 1_000_000)
    return event if form == "plain" else b'{"stream":"serverShutdown","data":%s}' % event


def _spot_symbols(coins: Sequence[Coin]) -> list[SymbolSpec]:
    return [SymbolSpec(symbol=f"{coin.name}USDT", coin=coin.name, base=coin.name, quote="USDT", price=coin.price,
                       price_decimals=8, quantity_decimals=8) for coin in coins]


def _futures_symbols(coins: Sequence[Coin]) -> list[SymbolSpec]:
    specs = []
    for coin in coins:
        base, price = coin.name, coin.price
        if base in THOUSANDS:
            base, price = f"1000{base}", price * 1000
        price_decimals = max(0, 5 - len(str(int(price)))) if price >= 1 else 7
        specs.append(SymbolSpec(symbol=f"{base}USDT", coin=coin.name, base=base, quote="USDT", price=price,
                                price_decimals=price_decimals, quantity_decimals=3 if price > 100 else 0))
    return specs


STAMPS = (Stamp(marker=b'"E":', what="time", digits=13, unit_ns=1_000_000),
          Stamp(marker=b'"T":', what="time", digits=13, unit_ns=1_000_000), Stamp(marker=b'"t":', what="id", digits=10))
SPOT_RULES = Rules(messages_per_second=5, messages_close=(1008, "Too many requests"), streams_per_connection=1024,
                   connects_per_5_minutes=300, ping_every_s=20, pong_within_s=60, client_silence_s=0,
                   connection_age_s=86_400, requests_per_minute=6000)
FUTURES_RULES = Rules(messages_per_second=10, messages_close=(1008, "Too many requests"), streams_per_connection=1024,
                      connects_per_5_minutes=300, ping_every_s=180, pong_within_s=600, client_silence_s=0,
                      connection_age_s=86_400, requests_per_minute=2400)
SPOT_DIALECT = Dialect(
    exchange="binance", market_type=SPOT, ws_path="/ws", rest_path="", rules=SPOT_RULES, first_id=3_735_683_259, listed=448,
    timestamp_unit_ns=1_000_000, flag_shares={}, trades_per_frame=1, binary=False, stamps=STAMPS,
    symbols=_spot_symbols, open=_open, receive=_receive, encode=_encode_spot, rest=rest_of(spot=True),
    maintenance=_maintenance, read_tape=_read_tape, reframe=_reframe)
FUTURES_DIALECT = Dialect(
    exchange="binance", market_type=FUTURES, ws_path="/public/ws", rest_path="", rules=FUTURES_RULES,
    first_id=5_266_583_935, listed=540, timestamp_unit_ns=1_000_000,
    flag_shares={VOID: 0.0037, Flag.INSURANCE_FUND.value: 0.0002, Flag.ADL.value: 0.0001}, trades_per_frame=1,
    binary=False, stamps=STAMPS, symbols=_futures_symbols, open=_open, receive=_receive, encode=_encode_futures,
    rest=rest_of(spot=False), maintenance=_maintenance, read_tape=_read_tape, reframe=_reframe)


@hookimpl
def simulator_dialects() -> list[Dialect]:
    """Return both markets."""
    return [SPOT_DIALECT, FUTURES_DIALECT]
