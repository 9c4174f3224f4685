"""Simulate OKX spot and USDT swaps: `trades-all` on `/business`, one answer per argument, instruments and history.

Based on the same documents as the exchange plugin.
- A subscription is followed by the last trade. Wrong channels and unknown symbols are rejected individually (60018); requests
  that are invalid or too long are rejected whole (60012). The 481st subscription or unsubscription of a connection is
  rejected (60014); the simulator never resets this hourly count. The real venue varies the texts of rejections.
- Connects and requests count for both markets together. A client that is silent for 30 s is disconnected.
- History covers three months, by id or by time: `after` is exclusive and pages towards older rows. An answer has up to 100
  candles, omits minutes without a trade, and marks the minute in progress as not confirmed. More than 20 requests per 2
  seconds, over all paths, get status 429 and code 50011; every other error has status 200 and a specific code.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

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

CHANNELS = {"/ws/v5/business": "trades-all", "/ws/v5/public": "trades"}
CONNECTION = "a4d3ae55"
REQUEST_BYTES = 4096
OPERATIONS = 480
FRAME = ('{"arg":{"channel":"%s","instId":"%s"},"data":[{"instId":"%s","tradeId":"%d","px":"%s","sz":"%s","side":"%s",'
         '"source":"0","ts":"%d"}]}')
NO_SUCH = ("Wrong URL or channel:%s,instId:%s doesn't exist. Please use the correct URL, channel and parameters referring to "
           "API document.")
HISTORY, CANDLES = "/api/v5/market/history-trades", "/api/v5/market/history-candles"
DEPTHS = {HISTORY: 100, "/api/v5/market/trades": 500, CANDLES: 100}
MS, MINUTE_NS, THREE_MONTHS_NS, FOREVER = 1_000_000, 60 * 10**9, 90 * 86_400 * 10**9, 2**62
SPOT_EXTRAS = (("ETH-BTC", "ETH", "BTC", "live"), ("BTC-USDC", "BTC", "USDC", "live"), ("LUNA-USDT", "LUNA", "USDT", "suspend"),
               ("NEW-USDT", "NEW", "USDT", "preopen"))


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
        replies += _answer_argument(session, request, argument, history)
    return Reply(replies)


def _answer_argument(session: ClientSession, request: dict[str, Any], argument: Any, history: History) -> list[Message | Past]:
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
        return [_with_request_id(request, answer)]
    session.topics[symbol] = symbol
    last = history.recent(number, 1)
    return [_with_request_id(request, answer), *(Past(frame.decode(), last) for frame in _encode(session.form, last))]


def _with_request_id(request: Any, answer: dict[str, Any]) -> str:
    number = {"id": request["id"]} if isinstance(request, dict) and "id" in request else {}
    return json.dumps({**number, **answer}, separators=(",", ":"))


def _error(request: Any, code: str, text: str) -> str:
    return _with_request_id(request, {"event": "error", "code": code, "msg": text, "connId": CONNECTION})


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


def _answer(data: list[Any]) -> HttpReply:
    return HttpReply(200, json.dumps({"code": "0", "msg": "", "data": data}, ensure_ascii=False).encode(),
                     {"Content-Type": "application/json"})


def _http_error(code: str, text: str, status: int = 200) -> HttpReply:
    return HttpReply(status, json.dumps({"code": code, "msg": text, "data": []}).encode(), {"Content-Type": "application/json"})


def _rest_of(*, spot: bool) -> Callable[[HttpCall, Rules, History, Meter], HttpReply]:
    """Return the function that answers the REST requests of a market."""

    def rest(call: HttpCall, rules: Rules, history: History, meter: Meter) -> HttpReply:
        if meter.spend(1) > rules.requests > 0:
            return _http_error("50011", "Too Many Requests", 429)
        if call.path == "/api/v5/public/instruments":
            return _instruments(call, spot, history)
        if call.path == "/api/v5/market/tickers":
            return _answer(_tickers(spot, history) if call.query.get("instType") == ("SPOT" if spot else "SWAP") else [])
        if call.path == "/api/v5/market/ticker":
            return _ticker(call, spot, history)
        if call.path == "/api/v5/market/books":
            return _book(call, history)
        if call.path in DEPTHS:
            return _past(call, history)
        return _http_error("404", "Not Found", 404)

    return rest


def _instruments(call: HttpCall, spot: bool, history: History) -> HttpReply:
    wanted = call.query.get("instType")
    if wanted not in ("SPOT", "SWAP", "FUTURES", "MARGIN", "OPTION"):
        return _http_error("51000", "Parameter instType error")
    if wanted == "SPOT" and spot:
        rows = [_spot_row(spec.symbol, spec.base, spec.quote, "live") for spec in history.table.specs]
        return _answer(rows + [_spot_row(*extra) for extra in SPOT_EXTRAS])
    if wanted == "SWAP" and not spot:
        rows = [_swap_row(spec, number) for number, spec in enumerate(history.table.specs)]
        return _answer([*rows, *_swap_extras()])
    return _answer([])


def _tickers(spot: bool, history: History) -> list[dict[str, Any]]:
    """Return ticker rows; their volume is in the quote currency on spot and in the base currency on swaps."""
    return [{"instType": "SPOT" if spot else "SWAP", "instId": spec.symbol, "last": str(spec.price),
             "volCcy24h": str(volume if spot else volume / spec.price)}
            for spec, volume in zip(history.table.specs, history.table.volumes, strict=True)]


def _spot_row(symbol: str, base: str, quote: str, state: str) -> dict[str, Any]:
    return {"instType": "SPOT", "instId": symbol, "uly": "", "instFamily": "", "baseCcy": base, "quoteCcy": quote,
            "settleCcy": "", "ctVal": "", "ctMult": "", "ctValCcy": "", "ctType": "", "expTime": "", "lotSz": "0.00000001",
            "minSz": "0.00001", "tickSz": "0.00000001", "state": state, "ruleType": "normal"}


def _swap_row(spec: SymbolSpec, number: int) -> dict[str, Any]:
    """Return the row of a swap; every second contract size is the product of two fields."""
    multiplier = 10 if number % 2 else 1
    value = f"{spec.contract_size / multiplier:.12f}".rstrip("0").rstrip(".")
    family = f"{spec.base}-{spec.quote}"
    return {"instType": "SWAP", "instId": spec.symbol, "uly": family, "instFamily": family, "baseCcy": "", "quoteCcy": "",
            "settleCcy": spec.quote, "ctVal": value, "ctMult": str(multiplier), "ctValCcy": spec.base, "ctType": "linear",
            "expTime": "", "lotSz": "0.01", "minSz": "0.01", "tickSz": "0.0000000001", "state": "live", "ruleType": "normal"}


def _swap_extras() -> list[dict[str, Any]]:
    plain = _swap_row(SymbolSpec(symbol="RAY-USDT-SWAP", coin="RAY", base="RAY", quote="USDT", price=1.0, price_decimals=4,
                                 quantity_decimals=0), 0)
    inverse = {"instId": "BTC-USD-SWAP", "uly": "BTC-USD", "instFamily": "BTC-USD", "settleCcy": "BTC", "ctVal": "100",
               "ctValCcy": "USD", "ctType": "inverse"}
    other = {"instId": "BTC-USDC-SWAP", "uly": "BTC-USDC", "instFamily": "BTC-USDC", "settleCcy": "USDC"}
    return [plain | {"state": "suspend"}, plain | inverse, plain | other]


def _book(call: HttpCall, history: History) -> HttpReply:
    """Answer with the best levels: price, quantity, 0 and number of orders."""
    symbol, size = history.table.index.get(call.query.get("instId", "")), call.query.get("sz", "1")
    if symbol is None:
        return _http_error("51001", f"Instrument ID, Instrument ID code, or Spread ID doesn't exist. {call.query.get('instId')}")
    if not size.isdigit() or not 1 <= int(size) <= 400:
        return _http_error("51000", "Parameter sz error")
    book = history.book(symbol, call.now_ns)
    return _answer([{side: [[*level, "0", "3"] for level in book.texts(side, int(size))] for side in ("asks", "bids")}
                    | {"ts": str(book.at_ns // MS), "seqId": book.number}])


def _ticker(call: HttpCall, spot: bool, history: History) -> HttpReply:
    """Answer with the row of a symbol: on swaps `vol24h` is in contracts and `volCcy24h` in base, on spot in quote currency."""
    symbol = history.table.index.get(call.query.get("instId", ""))
    if symbol is None:
        return _http_error("51001", f"Instrument ID, Instrument ID code, or Spread ID doesn't exist. {call.query.get('instId')}")
    made, spec = history.ticker(symbol, call.now_ns), history.table.specs[symbol]
    volume = made.turnover if spot else float(made.volume) * spec.contract_size
    return _answer([{"instType": "SPOT" if spot else "SWAP", "instId": spec.symbol, "last": made.text("last"),
                     "open24h": made.text("open"), "high24h": made.text("high"), "low24h": made.text("low"),
                     "vol24h": made.volume, "volCcy24h": f"{volume:.8f}", "bidPx": made.text("bid"), "askPx": made.text("ask"),
                     "ts": str(made.at_ns // MS)}])


def _past(call: HttpCall, history: History) -> HttpReply:
    """Answer with past trades or candles of a symbol."""
    symbol = history.table.index.get(call.query.get("instId", ""))
    if symbol is None:
        wanted = call.query.get("instId", "")
        return _http_error("51001", f"Instrument ID, Instrument ID code, or Spread ID doesn't exist. {wanted}")
    numbers = {}
    for key in ("limit", "after", "before", "type"):
        if key in call.query:
            if not call.query[key].isdigit() or (key == "type" and call.query[key] not in ("1", "2")):
                return _http_error("51000", f"Parameter {key} error")
            numbers[key] = int(call.query[key])
    if call.path == CANDLES:
        return _candles(call, history, symbol, numbers)
    limit = min(numbers.get("limit", 100), DEPTHS[call.path])
    if call.path != HISTORY or not {"after", "before"} & numbers.keys():
        return _answer(_rows(history.recent(symbol, limit)))
    if numbers.get("type", 1) == 2:  # paging by time goes towards older rows only
        rows = history.last_between(symbol, call.now_ns - THREE_MONTHS_NS, numbers.get("after", FOREVER // MS) * MS - 1, limit)
    else:
        rows = history.last_ids(symbol, numbers.get("before", -1) + 1, numbers.get("after", FOREVER) - 1, limit)
        rows = rows.take(rows.timestamp >= call.now_ns - THREE_MONTHS_NS)
    return _answer(_rows(rows))


def _candles(call: HttpCall, history: History, symbol: int, numbers: dict[str, int]) -> HttpReply:
    """Answer with the newest minutes between `before` and `after`."""
    if call.query.get("bar", "1m") != "1m":
        return _http_error("51000", "Parameter bar error")
    spec = history.table.specs[symbol]
    bars = history.minutes(symbol, (numbers.get("before", -1) + 1) * MS, min(numbers.get("after", FOREVER // MS) * MS, FOREVER))
    rows = []
    for bar in bars[-min(numbers.get("limit", 100), DEPTHS[CANDLES]):]:
        prices = [f"{units / 10**spec.price_decimals:.{spec.price_decimals}f}" for units in
                  (bar.open, bar.high, bar.low, bar.close)]
        quantity, quote = bar.quantity / 10**spec.quantity_decimals, bar.quote * spec.contract_size
        currency = quote if spec.symbol.count("-") == 1 else quantity * spec.contract_size
        rows.append([str(bar.start_ns // MS), *prices, f"{quantity:.{spec.quantity_decimals}f}", f"{currency:.8f}",
                     f"{quote:.8f}", str(int(bar.start_ns + MINUTE_NS <= call.now_ns))])
    return _answer(rows[::-1])


def _rows(rows: Rows) -> list[dict[str, Any]]:
    rows = rows.take(np.arange(len(rows) - 1, -1, -1))
    return [{"instId": name, "side": "sell" if sell else "buy", "sz": quantity, "source": "0", "px": price,
             "tradeId": str(number), "ts": str(at)}
            for name, sell, quantity, price, number, at in
            zip(rows.symbols(), rows.sell.tolist(), rows.quantity_texts(), rows.price_texts(), rows.trade_id.tolist(),
                (rows.timestamp // 1_000_000).tolist(), strict=True)]


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
        open=_open, receive=_receive, encode=_encode, rest=_rest_of(spot=market_type == SPOT), maintenance=_maintenance,
        read_tape=_read_tape, reframe=lambda form, raw: raw, listed=290 if market_type == SPOT else 260)


@hookimpl
def simulator_dialects() -> list[Dialect]:
    """Return both markets."""
    return [_dialect(SPOT, _spot_symbols), _dialect(FUTURES, _swap_symbols)]
