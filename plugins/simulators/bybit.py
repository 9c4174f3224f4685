"""Simulate Bybit v5 spot and linear: `publicTrade`, requests and rejections, symbol lists and trade history.

Based on the same documents and observations as the exchange plugin (2026).
- Only the path selects the market. A spot request takes up to 10 topics, and a connection up to 21,000 characters of topics. One
  unknown or already subscribed topic rejects the whole request. A client that is silent for ten minutes is disconnected.
  The text of the rejection for too many characters is invented, because it is not documented.
- Linear ids are UUIDs; simulated ones end in the number of the trade.
- Connects and REST requests count for both markets together; each market allows 1,000 connections. The linear list is
  paged by a percent-encoded cursor.
- kline returns the newest minutes of its range first and omits minutes without a trade. orderbook has up to 50 levels.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from pumpwatch import (
    FUTURES,
    SPOT,
    ClientSession,
    Coin,
    Dialect,
    Flag,
    History,
    HttpCall,
    HttpReply,
    MadeTicker,
    Message,
    Meter,
    Reply,
    Rows,
    Rules,
    Stamp,
    SymbolSpec,
    TapeTrade,
    hookimpl,
    id_number,
)

TOPIC = "publicTrade."
CATEGORY = {SPOT: "spot", FUTURES: "linear"}
TOPIC_CHARACTERS = 21_000
SPOT_ARGS = 10
ROW_LIMIT = {SPOT: 60, FUTURES: 1000}
PATHS = ("/v5/market/instruments-info", "/v5/market/recent-trade", "/v5/market/tickers", "/v5/market/kline",
         "/v5/market/orderbook")
PREFIXED, SUFFIXED = ("PEPE", "BONK", "FLOKI", "RATS", "LUNC"), ("SHIB",)
# The fields are in the venue's order. The values of a trade: time, symbol, side, quantity, price, id, block, RPI, seq;
# a frame: symbol, time, trades.
SPOT_TRADE = '{{"i":"{5}","T":{0},"p":"{4}","v":"{3}","S":"{2}","seq":{8},"s":"{1}","BT":{6},"RPI":{7}}}'
SPOT_FRAME = '{{"topic":"publicTrade.{0}","ts":{1},"type":"snapshot","data":[{2}]}}'
LINEAR_TRADE = '{{"T":{0},"s":"{1}","S":"{2}","v":"{3}","p":"{4}","L":"PlusTick","i":"{5}","BT":{6},"RPI":{7},"seq":{8}}}'
LINEAR_FRAME = '{{"topic":"publicTrade.{0}","type":"snapshot","ts":{1},"data":[{2}]}}'
JSON_BOOL = ("false", "true")


def _open_at(path: str) -> Callable[[ClientSession, Rules], Reply | HttpReply]:
    return lambda session, rules: Reply() if session.path == path else HttpReply(404)


def _receive_on(market_type: str) -> Callable[[ClientSession, Message, Rules, History], Reply]:
    def receive(session: ClientSession, message: Message, rules: Rules, history: History) -> Reply:
        try:
            request = json.loads(message)
        except ValueError:
            request = None
        if not isinstance(request, dict) or request.get("op") not in ("ping", "subscribe", "unsubscribe"):
            return _answer_request({}, False, "Params Error", "")
        op, args = request["op"], request.get("args", [])
        if op == "ping":
            return _answer_request(request, True, "pong", op)
        if not isinstance(args, list) or not args or not all(isinstance(topic, str) for topic in args):
            return _answer_request(request, False, "Params Error", op)
        if op == "unsubscribe":
            for topic in args:
                session.topics.pop(topic, None)
            return _answer_request(request, True, op if market_type == SPOT else "", op)
        problem = _problem(args, market_type, session, history)
        if not problem:
            session.topics.update((topic, topic.removeprefix(TOPIC)) for topic in args)
        return _answer_request(request, not problem, problem or (op if market_type == SPOT else ""), op)

    return receive


def _problem(args: Sequence[str], market_type: str, session: ClientSession, history: History) -> str:
    if market_type == SPOT and len(args) > SPOT_ARGS:
        return f"args size >{SPOT_ARGS}"
    for topic in args:
        if not topic.startswith(TOPIC) or topic.removeprefix(TOPIC) not in history.table.index:
            return f"error:handler not found,topic:{topic}"
        if topic in session.topics:
            return f"error:already subscribed,topic:{topic}"
    if len(json.dumps([*session.topics, *args], separators=(",", ":"), ensure_ascii=False)) > TOPIC_CHARACTERS:
        return f"error:args length >{TOPIC_CHARACTERS}"
    return ""


def _answer_request(request: dict[str, Any], success: bool, text: str, op: str) -> Reply:
    number = {"req_id": request["req_id"]} if "req_id" in request else {}
    return Reply([json.dumps({"success": success, "ret_msg": text, "conn_id": "2324d924-aa4d-45b0-a858-7b8be29ab52b",
                              **number, "op": op}, separators=(",", ":"))])


def _trades(form: str, rows: Rows, ids: Sequence[str]) -> list[str]:
    block, rpi = (rows.flags & Flag.BLOCK.value != 0).tolist(), (rows.flags & Flag.RPI.value != 0).tolist()
    return [form.format(at, name, "Sell" if sell else "Buy", quantity, price, trade_id, JSON_BOOL[is_block], JSON_BOOL[is_rpi],
                        number)
            for at, name, sell, quantity, price, trade_id, is_block, is_rpi, number in
            zip((rows.timestamp // 1_000_000).tolist(), rows.symbols(), rows.sell.tolist(), rows.quantity_texts(),
                rows.price_texts(), ids, block, rpi, rows.sequences(), strict=True)]


def _encode_spot(form: str, rows: Rows) -> list[bytes]:
    times = (rows.timestamp // 1_000_000).tolist()
    return [SPOT_FRAME.format(name, at, trade).encode()
            for name, at, trade in zip(rows.symbols(), times, _trades(SPOT_TRADE, rows, _ids_of(rows)), strict=True)]


def _encode_linear(form: str, rows: Rows) -> list[bytes]:
    """Return one frame: the rows are of one symbol."""
    trades = ",".join(_trades(LINEAR_TRADE, rows, _linear_ids(rows)))
    return [LINEAR_FRAME.format(rows.symbols()[0], int(rows.timestamp[-1]) // 1_000_000, trades).encode()]


def _ids_of(rows: Rows) -> list[str]:
    ids: list[str] = rows.ids()
    return ids


def _linear_ids(rows: Rows) -> list[str]:
    """Return the ids of recorded trades; for others, UUIDs that look random and end in the trade's number."""
    if rows.text_id is not None:
        return _ids_of(rows)
    return [f"{(number * 2654435761 + symbol * 40503) & 0xFFFFFFFF:08x}-{symbol & 0xFFFF:04x}-5{number * 7919 & 0xFFF:03x}-"
            f"8{number * 104729 & 0xFFF:03x}-{number % 10**12:012d}"
            for number, symbol in zip(rows.trade_id.tolist(), rows.symbol.tolist(), strict=True)]


def _read_tape(raw: bytes) -> list[TapeTrade]:
    frame = json.loads(raw)
    if not str(frame.get("topic")).startswith(TOPIC):
        return []
    return [TapeTrade(symbol=row["s"], trade_id=int(row["i"]) if row["i"].isdecimal() else id_number(row["i"]),
                      timestamp_ns=row["T"] * 1_000_000, price=row["p"], quantity=row["v"], sell=row["S"] == "Sell",
                      flags=Flag.BLOCK.value * row.get("BT", False) | Flag.RPI.value * row.get("RPI", False))
            for row in frame["data"]]


def _rest_of(market_type: str) -> Callable[[HttpCall, Rules, History, Meter], HttpReply]:
    category, ids_of = CATEGORY[market_type], _ids_of if market_type == SPOT else _linear_ids

    def rest(call: HttpCall, rules: Rules, history: History, meter: Meter) -> HttpReply:
        if meter.spend(1) > rules.requests > 0:
            return HttpReply(403, b"access too frequent")
        if call.path not in PATHS:
            return HttpReply(404, b"404 page not found")
        if call.query.get("category") != category:
            return _answer(call, {}, 10001, "params error: Category is invalid")
        if call.path.endswith("instruments-info"):
            return _instruments(call, market_type, history)
        if call.path.endswith("tickers") and "symbol" not in call.query:
            pairs = zip(history.table.symbols, history.table.volumes, strict=True)
            return _answer(call, {"category": category, "list": [{"symbol": symbol, "turnover24h": str(volume)}
                                                                 for symbol, volume in pairs]})
        symbol = history.table.index.get(call.query.get("symbol", ""))
        if symbol is None:
            return _answer(call, {}, 10001, "Not supported symbols")
        if call.path.endswith("tickers"):
            return _ticker(call, category, history.ticker(symbol, call.now_ns))
        if call.path.endswith("kline"):
            return _kline(call, category, symbol, history)
        if call.path.endswith("orderbook"):
            book, limit = history.book(symbol, call.now_ns), min(_limit(call, 1), 50)
            sides = {key: book.texts(side, limit) for key, side in (("b", "bids"), ("a", "asks"))}
            return _answer(call, {"s": book.table.symbols[book.symbol], **sides, "ts": call.now_ns // 1_000_000,
                                  "u": book.number, "seq": book.number, "cts": book.at_ns // 1_000_000})
        row_limit = ROW_LIMIT[market_type]
        rows = history.recent(symbol, min(_limit(call, min(500, row_limit)), row_limit))
        listed = [{"execId": trade_id, "symbol": name, "price": price, "size": size, "side": "Sell" if sell else "Buy",
                   "time": str(at), "isBlockTrade": bool(flags & Flag.BLOCK.value), "isRPITrade": bool(flags & Flag.RPI.value),
                   "seq": str(number)}
                  for trade_id, name, price, size, sell, at, flags, number in
                  zip(ids_of(rows), rows.symbols(), rows.price_texts(), rows.quantity_texts(), rows.sell.tolist(),
                      (rows.timestamp // 1_000_000).tolist(), rows.flags.tolist(), rows.sequences(), strict=True)]
        return _answer(call, {"category": category, "list": listed[::-1]})

    return rest


def _ticker(call: HttpCall, category: str, made: MadeTicker) -> HttpReply:
    """Answer with the time of the last trade, so that tests can age it; the real venue gives the time of the answer."""
    row = {"symbol": made.table.symbols[made.symbol], "lastPrice": made.text("last"), "prevPrice24h": made.text("open"),
           "highPrice24h": made.text("high"), "lowPrice24h": made.text("low"), "volume24h": made.volume,
           "turnover24h": f"{made.turnover:.8f}", "bid1Price": made.text("bid"), "ask1Price": made.text("ask")}
    return _answer(call, {"category": category, "list": [row]}, at_ns=made.at_ns)


def _kline(call: HttpCall, category: str, symbol: int, history: History) -> HttpReply:
    """Answer with the newest minutes that begin from `start` to `end`."""
    start, end = call.query.get("start", "0"), call.query.get("end", str(call.now_ns // 1_000_000))
    if call.query.get("interval") != "1":
        return _answer(call, {}, 10001, "Invalid period!")
    if not start.isdecimal() or not end.isdecimal():
        return _answer(call, {}, 10001, "params error: start or end invalid")
    spec = history.table.specs[symbol]
    bars = history.minutes(symbol, int(start) * 1_000_000, (int(end) + 1) * 1_000_000)[-_limit(call, 200):]
    rows = []
    for bar in bars:
        prices = [f"{units / 10**spec.price_decimals:.{spec.price_decimals}f}" for units in
                  (bar.open, bar.high, bar.low, bar.close)]
        quantity = f"{bar.quantity / 10**spec.quantity_decimals:.{spec.quantity_decimals}f}"
        rows.append([str(bar.start_ns // 1_000_000), *prices, quantity, f"{bar.quote:.8f}"])
    return _answer(call, {"symbol": spec.symbol, "category": category, "list": rows[::-1]})


def _limit(call: HttpCall, default: int) -> int:
    text = call.query.get("limit", "")
    return max(1, min(1000, int(text))) if text.isdecimal() else default


def _answer(call: HttpCall, result: dict[str, Any], code: int = 0, text: str = "OK", at_ns: int = 0) -> HttpReply:
    body = {"retCode": code, "retMsg": text, "result": result, "retExtInfo": {}, "time": (at_ns or call.now_ns) // 1_000_000}
    return HttpReply(200, json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode())


def _instruments(call: HttpCall, market_type: str, history: History) -> HttpReply:
    """Answer with the list, whole on spot, a page on linear; it includes what a collector must leave out."""
    names = [(spec.symbol, spec.base, spec.quote, "LinearPerpetual") for spec in history.table.specs]
    steps = {spec.symbol: _steps(market_type, spec.price_decimals, spec.quantity_decimals) for spec in history.table.specs}
    other = _steps(market_type, 2, 3)
    if market_type == SPOT:
        names += [("ETHBTC", "ETH", "BTC", ""), ("SOLUSDC", "SOL", "USDC", "")]
        rows = [{"symbol": symbol, "baseCoin": base, "quoteCoin": quote, "innovation": "0", "status": "Trading",
                 **steps.get(symbol, other)}
                for symbol, base, quote, _ in names]
        return _answer(call, {"category": "spot", "list": rows})
    names += [("BTCPERP", "BTC", "USDC", "LinearPerpetual"), ("BTCUSDT-25DEC26", "BTC", "USDT", "LinearFutures")]
    cursor = call.query.get("cursor", "first=0")
    if not cursor.removeprefix("first=").isdecimal():
        return _answer(call, {}, 10001, "params error: cursor invalid")
    first, limit = int(cursor.removeprefix("first=")), _limit(call, 500)
    rows = [{"symbol": symbol, "contractType": kind, "status": "Trading", "baseCoin": base, "quoteCoin": quote,
             "launchTime": "1758175736000", "deliveryTime": "0" if kind == "LinearPerpetual" else "1798185600000",
             "settleCoin": quote, **steps.get(symbol, other)} for symbol, base, quote, kind in names[first:first + limit]]
    next_cursor = f"first%3D{first + limit}" if first + limit < len(names) else ""
    return _answer(call, {"category": "linear", "list": rows, "nextPageCursor": next_cursor})


def _steps(market_type: str, price_decimals: int, quantity_decimals: int) -> dict[str, Any]:
    """Return the steps of prices and quantities, which clients read that place orders."""
    step = f"{10.0**-quantity_decimals:.{quantity_decimals}f}"
    lot = {"basePrecision": step, "quotePrecision": "0.0000001"} if market_type == SPOT else {"qtyStep": step}
    return {"priceFilter": {"tickSize": f"{10.0**-price_decimals:.{price_decimals}f}"},
            "lotSizeFilter": {**lot, "minOrderQty": step, "maxOrderQty": "100000000"}}


def _symbols_of(market_type: str) -> Callable[[Sequence[Coin]], list[SymbolSpec]]:
    def symbols(coins: Sequence[Coin]) -> list[SymbolSpec]:
        specs = []
        for coin in coins:
            base, price = coin.name, coin.price
            if market_type == FUTURES and base in PREFIXED + SUFFIXED:
                base, price = f"1000{base}" if base in PREFIXED else f"{base}1000", price * 1000
            decimals = max(0, 6 - len(str(int(price)))) if price >= 1 else 9
            specs.append(SymbolSpec(symbol=f"{base}USDT", coin=coin.name, base=base, quote="USDT", price=price,
                                    price_decimals=decimals, quantity_decimals=6 if market_type == SPOT else 3))
        return specs

    return symbols


def _dialect(market_type: str, **facts: Any) -> Dialect:
    path = f"/v5/public/{CATEGORY[market_type]}"
    rules = Rules(messages_per_second=0, messages_close=(1008, ""), streams_per_connection=0, connects_per_5_minutes=500,
                       ping_every_s=0, pong_within_s=0, client_silence_s=600, connection_age_s=0, requests_per_minute=7200,
                       request_window_s=5, connections=1000, shared_by_markets=True)
    return Dialect(exchange="bybit", market_type=market_type, ws_path=path, rest_path="", rules=rules, binary=False,
                   timestamp_unit_ns=1_000_000, flag_shares={Flag.RPI.value: 0.03, Flag.BLOCK.value: 0.001},
                   symbols=_symbols_of(market_type), open=_open_at(path), receive=_receive_on(market_type),
                   rest=_rest_of(market_type), maintenance=lambda form, now_ns: None, read_tape=_read_tape,
                   reframe=lambda form, raw: raw, **facts)


@hookimpl
def simulator_dialects() -> list[Dialect]:
    """Return both markets."""
    stamps = (Stamp(marker=b'"ts":', what="time", digits=13, unit_ns=1_000_000), Stamp(marker=b'"i":"', what="id", digits=19),
              Stamp(marker=b'"T":', what="time", digits=13, unit_ns=1_000_000), Stamp(marker=b'"seq":', what="id", digits=19))
    return [_dialect(SPOT, first_id=2_290_000_000_050_703_789, listed=420, trades_per_frame=1, stamps=stamps,
                     encode=_encode_spot),
            _dialect(FUTURES, first_id=30_000_000_000, listed=560, trades_per_frame=8, stamps=(), encode=_encode_linear)]
