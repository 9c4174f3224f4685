"""OKX spot and USDT swaps as a server: `trades-all` on `/business`, one answer an argument, the last trade on subscribing.

From the same documents as the exchange plugin. Wrong channels and unknown symbols are refused one by one (60018), requests
that are none or too long whole (60012); the 481st subscription or unsubscription of a connection is refused (60014; the
hour is not waited for). Connects and requests count for both markets together. Who sends nothing for 30 s is dropped. The
texts of refusals vary on the real venue.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from pumpwatch_plugins.simulators.okx_rest import rest_of

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

CHANNELS = {"/ws/v5/business": "trades-all", "/ws/v5/public": "trades"}
CONNECTION = "a4d3ae55"
REQUEST_BYTES = 4096
OPERATIONS = 480
FRAME = ('{"arg":{"channel":"%s","instId":"%s"},"data":[{"instId":"%s","tradeId":"%d","px":"%s","sz":"%s","side":"%s",'
         '"source":"0","ts":"%d"}]}')
NO_SUCH = ("Wrong URL or channel:%s,instId:%s doesn't exist. Please use the correct URL, channel and parameters referring to "
           "API document.")


def _open(session: ClientSession, rules: Rules) -> Reply | HttpReply:
    if session.path not in CHANNELS:
        return HttpReply(404)
    session.form = CHANNELS[session.path]
    return Reply()


def _receive(session: ClientSession, message: Message, rules: Rules, history: History) -> Reply:
    if message == "ping":
        return Reply(["pong"])
    request: Any = None
    if len(message) <= REQUEST_BYTES:
        try:
            request = json.loads(message)
        except ValueError:
            pass
    arguments = request.get("args") if isinstance(request, dict) else None
    if not isinstance(arguments, list) or request.get("op") not in ("subscribe", "unsubscribe"):
        text = message if isinstance(message, str) else repr(message)
        return Reply([_error(request, "60012", f"Invalid request: {text[:200]}")])
    replies: list[Message | Past] = []
    for argument in arguments:
        replies += _one(session, request, argument, history)
    return Reply(replies)


def _one(session: ClientSession, request: dict[str, Any], argument: Any, history: History) -> list[Message | Past]:
    """Answer one argument of a request."""
    channel, symbol = (argument.get("channel"), argument.get("instId")) if isinstance(argument, dict) else (None, None)
    session.notes["operations"] = session.notes.get("operations", 0) + 1
    if session.notes["operations"] > OPERATIONS:
        return [_error(request, "60014", "Requests too frequent")]
    number = history.table.index.get(symbol) if isinstance(symbol, str) else None
    if channel != session.form or number is None:
        return [_error(request, "60018", NO_SUCH % (channel, symbol))]
    answer = {"event": request["op"], "arg": argument, "connId": CONNECTION}
    if request["op"] == "unsubscribe":
        session.topics.pop(symbol, None)
        return [_with_id(request, answer)]
    session.topics[symbol] = symbol
    last = history.recent(number, 1)
    return [_with_id(request, answer), *(Past(frame.decode(), last) for frame in _encode(session.form, last))]


def _with_id(request: Any, answer: dict[str, Any]) -> str:
    number = {"id": request["id"]} if isinstance(request, dict) and "id" in request else {}
    return json.dumps({**number, **answer}, separators=(",", ":"))


def _error(request: Any, code: str, text: str) -> str:
    return _with_id(request, {"event": "error", "code": code, "msg": text, "connId": CONNECTION})


def _encode(form: str, rows: Rows) -> list[bytes]:
    names = rows.symbols()
    return [(FRAME % (form, name, name, number, price, quantity, "sell" if sell else "buy", at)).encode()
            for name, number, price, quantity, sell, at in
            zip(names, rows.trade_id.tolist(), rows.price_texts(), rows.quantity_texts(), rows.sell.tolist(),
                (rows.timestamp // 1_000_000).tolist(), strict=True)]


def _read_tape(raw: bytes) -> list[TapeTrade]:
    if raw == b"pong":
        return []
    frame = json.loads(raw)
    if frame.get("arg", {}).get("channel") not in CHANNELS.values() or "data" not in frame:
        return []
    return [TapeTrade(symbol=row["instId"], trade_id=int(row["tradeId"]), timestamp_ns=int(row["ts"]) * 1_000_000,
                      price=row["px"], quantity=row["sz"], sell=row["side"] == "sell") for row in frame["data"]]


def _maintenance(form: str, now_ns: int) -> bytes:
    return json.dumps({"event": "notice", "code": "64008", "msg": "The connection will soon be closed for a service upgrade. "
                       "Please reconnect.", "connId": CONNECTION}).encode()


def _spot_symbols(coins: Sequence[Coin]) -> list[SymbolSpec]:
    return [SymbolSpec(symbol=f"{coin.name}-USDT", coin=coin.name, base=coin.name, quote="USDT", price=coin.price,
                       price_decimals=8, quantity_decimals=8) for coin in coins]


def _swap_symbols(coins: Sequence[Coin]) -> list[SymbolSpec]:
    return [SymbolSpec(symbol=f"{coin.name}-USDT-SWAP", coin=coin.name, base=coin.name, quote="USDT", price=coin.price,
                       price_decimals=10, quantity_decimals=2, contract_size=_contract_size(coin.price)) for coin in coins]


def _contract_size(price: float) -> float:
    """Return the base units of a contract of about 100 to 1,000 USDT: 0.01 BTC, 100,000,000 PEPE."""
    return float(f"1e{2 - math.floor(math.log10(price))}")


RULES = Rules(messages_per_second=0, messages_close=(4001, ""), streams_per_connection=0, connects_per_5_minutes=0,
              connects_per_second=3, ping_every_s=0, pong_within_s=0, client_silence_s=30, connection_age_s=0,
              requests_per_minute=600, request_window_s=2, shared_by_markets=True)
STAMPS = (Stamp(marker=b'"tradeId":"', what="id", digits=9), Stamp(marker=b'"ts":"', what="time", digits=13, unit_ns=1_000_000))


def _dialect(market_type: str, symbols: Any) -> Dialect:
    return Dialect(
        exchange="okx", market_type=market_type, ws_path="/ws/v5/business", rest_path="", rules=RULES, first_id=338_476_307,
        timestamp_unit_ns=1_000_000, flag_shares={}, trades_per_frame=1, binary=False, stamps=STAMPS, symbols=symbols,
        open=_open, receive=_receive, encode=_encode, rest=rest_of(spot=market_type == SPOT), maintenance=_maintenance,
        read_tape=_read_tape, reframe=lambda form, raw: raw, listed=290 if market_type == SPOT else 260)


@hookimpl
def simulator_dialects() -> list[Dialect]:
    """Return both markets."""
    return [_dialect(SPOT, _spot_symbols), _dialect(FUTURES, _swap_symbols)]
