"""Simulate Binance spot and USDⓈ-M futures: raw `@trade` streams, limits, symbol lists and trade history.

Based on the same documents and observations as the exchange plugin (2026).
- An acknowledgement does not mean that data follow: unknown symbols, other channels, and `@trade` on `/market` get
  `"result":null` and stay silent. So does `@aggTrade`, which the real venue sends on `/market` and on spot.
- Futures rows with X="NA" use up ids. REST omits NA, INSURANCE_FUND and ADL rows, so gaps between the ids of an answer are
  normal. Futures `historicalTrades` requires an API key.
- REST requests above the weight per minute get status 429, and above 1.5 times that weight status 418.
- An aggregate trade has one price, side and time. Its id `a` (the one in `fromId`) is far below the ids of its trades; at the
  real venue these ids are consecutive. Futures serve the last 48 hours, one hour per request. Klines omit minutes without
  a trade.
- Spot order books carry no time.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from pumpwatch import (
    FUTURES,
    SPOT,
    VOID,
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
    aggregate,
    hookimpl,
)

PATHS = re.compile(r"^(?P<route>/public|/market|/private)?/(?P<form>ws|stream)(?:/(?P<streams>.*))?$")
THOUSANDS = ("PEPE", "BONK", "FLOKI", "LUNC", "XEC", "RATS", "SATS", "SHIB")
EXECUTIONS = {0: "MARKET", VOID: "NA", Flag.INSURANCE_FUND.value: "INSURANCE_FUND", Flag.ADL.value: "ADL"}
FLAGS = {name: flag for flag, name in EXECUTIONS.items()}
SPOT_FRAME = '{"e":"trade","E":%d,"s":"%s","t":%d,"p":"%s","q":"%s","T":%d,"m":%s,"M":true}'
FUTURES_FRAME = '{"e":"trade","E":%d,"T":%d,"s":"%s","t":%d,"p":"%s","q":"%s","X":"%s","m":%s,"st":1}'
WRAPPED = '{"stream":"%s@trade","data":%s}'
SPOT_WEIGHTS = {"ping": 1, "time": 1, "exchangeInfo": 20, "trades": 25, "historicalTrades": 25, "aggTrades": 4,
                "ticker/24hr": 80, "klines": 2}
FUTURES_WEIGHTS = {"ping": 1, "time": 1, "exchangeInfo": 1, "trades": 5, "historicalTrades": 200, "aggTrades": 20,
                   "ticker/24hr": 40}
ROW_LIMIT = 1000
KLINE_WEIGHTS = ((99, 1), (499, 2), (1000, 5), (1500, 10))  # of futures: greatest number of rows, weight
DEPTH_WEIGHTS = {True: ((100, 5), (500, 25), (1000, 50), (5000, 250)), False: ((50, 2), (100, 5), (500, 10), (1000, 20))}
DEPTHS = (5, 10, 20, 50, 100, 500, 1000)  # the `limit` values of futures
FILLS = 20  # trades that are read per aggregate
AGGREGATES_BEHIND = 2_000_000_000  # difference between the id of an aggregate's first trade and its own
HOUR_MS, TWO_DAYS_NS, NS_PER_MS = 3_600_000, 2 * 86_400 * 10**9, 1_000_000

PAUSED = {"LUNAUSDT": "BREAK", "VENUSDT": "HALT"}  # spot symbols that are listed but not traded

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
    """Return the symbol of a stream; "" for a stream that is acknowledged but stays silent."""
    name, _, channel = stream.partition("@")
    routed_away = session.notes["route"] in ("/market", "/private")
    return name.upper() if channel == "trade" and name == name.lower() and not routed_away else ""


def _receive(session: ClientSession, message: Message, rules: Rules, history: History) -> Reply:
    try:
        request = json.loads(message)
    except ValueError as error:
        return _reject(3, f"Invalid JSON: {error}", None)
    if not isinstance(request, dict) or not isinstance(request.get("method"), str):
        return _reject(2, "Invalid request: missing field `method`", None)
    number, method, params = request.get("id"), request["method"], request.get("params", [])
    if not isinstance(params, list) or not all(isinstance(stream, str) for stream in params):
        return _reject(2, "Invalid request: params must be an array of strings", number)
    if method == "SUBSCRIBE":
        added = [stream for stream in params if stream not in session.topics]
        if len(session.topics) + len(added) > rules.streams_per_connection:
            return Reply([json.dumps({"error": {"code": 4, "msg": "Too many subscriptions"}, "id": number})])
        session.topics.update((stream, _symbol_of(stream, session)) for stream in added)
    elif method == "UNSUBSCRIBE":
        for stream in params:
            session.topics.pop(stream, None)
    elif method != "LIST_SUBSCRIPTIONS":
        return _reject(2, f"Invalid request: unknown variant `{method}`, expected one of `SUBSCRIBE`, `UNSUBSCRIBE`, "
                          "`LIST_SUBSCRIPTIONS`, `SET_PROPERTY`, `GET_PROPERTY`", number)
    result = list(session.topics) if method == "LIST_SUBSCRIPTIONS" else None
    return Reply([json.dumps({"result": result, "id": number}, separators=(",", ":"))])


def _reject(code: int, text: str, number: Any) -> Reply:
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
    executions = [EXECUTIONS[flag] for flag in rows.flags.tolist()]
    for row in (rows.flags == VOID).nonzero()[0].tolist():
        prices[row] = quantities[row] = "0"
    frames = [FUTURES_FRAME % (at, at, name, number, price, quantity, execution, "true" if sell else "false")
              for at, name, number, price, quantity, execution, sell in
              zip(times, names, rows.trade_id.tolist(), prices, quantities, executions, rows.sell.tolist(), strict=True)]
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


def _json(body: Any, used: float) -> HttpReply:
    return HttpReply(200, json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode(),
                     {"X-MBX-USED-WEIGHT-1M": str(int(used))})


def _error(status: int, code: int, text: str, headers: dict[str, str] | None = None) -> HttpReply:
    return HttpReply(status, json.dumps({"code": code, "msg": text}).encode(), headers or {})


def _rest_of(*, spot: bool) -> Callable[[HttpCall, Rules, History, Meter], HttpReply]:
    """Return the function that answers the REST requests of a market."""
    prefix = "/api/v3/" if spot else "/fapi/v1/"
    weights = SPOT_WEIGHTS if spot else FUTURES_WEIGHTS

    def rest(call: HttpCall, rules: Rules, history: History, meter: Meter) -> HttpReply:
        name = call.path.removeprefix(prefix)
        if not call.path.startswith(prefix) or name not in (*weights, "klines", "depth"):
            return HttpReply(404, b"<html><body><h2>404 Not found</h2></body></html>", {"Content-Type": "text/html"})
        used = meter.spend(_weight_of(call, KLINE_WEIGHTS, "500") if name == "klines" and not spot else
                           _weight_of(call, DEPTH_WEIGHTS[spot], "100" if spot else "500") if name == "depth" else
                           weights.get(name, 1))
        if used > rules.requests > 0:
            return _limited(used, rules, meter, call.now_ns)
        if name == "exchangeInfo":
            return _json(_exchange_info(spot, history, rules, call.now_ns), used)
        if name == "ticker/24hr" and "symbol" not in call.query:
            return _json([{"symbol": symbol, "quoteVolume": f"{volume:.8f}", "count": 1000} for symbol, volume in
                          zip(history.table.symbols, history.table.volumes, strict=True)], used)
        if name in ("ping", "time"):
            return _json({"serverTime": call.now_ns // 1_000_000} if name == "time" else {}, used)
        return _trades(call, name, spot, history, used)

    return rest


def _weight_of(call: HttpCall, weights: Sequence[tuple[int, int]], usual: str) -> int:
    text = call.query.get("limit", usual)
    return next((weight for most, weight in weights if int(text if text.isdigit() else usual) <= most), weights[-1][1])


def _limited(used: float, rules: Rules, meter: Meter, now_ns: int) -> HttpReply:
    limit, wait = int(rules.requests), meter.retry_after_s()
    if used > 1.5 * limit:
        until = now_ns // 1_000_000 + 120_000
        return _error(418, -1003, f"Way too much request weight used; IP banned until {until}. Please use WebSocket "
                                  "Streams for live updates to avoid bans.", {"Retry-After": "120"})
    return _error(429, -1003, f"Too much request weight used; current limit is {limit} request weight per 1 MINUTE. "
                              "Please use WebSocket Streams for live updates to avoid polling the API.",
                  {"Retry-After": str(wait), "X-MBX-USED-WEIGHT-1M": str(int(used))})


def _trades(call: HttpCall, name: str, spot: bool, history: History, used: float) -> HttpReply:
    if not spot and name == "historicalTrades" and "x-mbx-apikey" not in call.headers:
        return _error(401, -2014, "API-key format invalid.")
    symbol = history.table.index.get(call.query.get("symbol", ""))
    if symbol is None:
        if not call.query.get("symbol"):
            return _error(400, -1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.")
        if spot and call.query["symbol"] in PAUSED:
            return _json([], used)
        return _error(400, -1121, "Invalid symbol.")
    numbers = {}
    for key in ("limit", "fromId", "startTime", "endTime"):
        if key in call.query:
            if not call.query[key].isdigit():
                return _error(400, -1100, f"Illegal characters found in parameter '{key}'.")
            numbers[key] = int(call.query[key])
    if name == "ticker/24hr":
        return _json(_ticker(history.ticker(symbol, call.now_ns), spot), used)
    if name == "depth":
        return _depth(history, symbol, spot, numbers.get("limit", 100 if spot else 500), call.now_ns, used)
    limit, most = numbers.get("limit", 500), 1500 if name == "klines" and not spot else ROW_LIMIT
    if not 1 <= limit <= most:
        if not spot or limit < 1:
            return _error(400, -1130, "Data sent for parameter 'limit' is not valid.")
        limit = most
    if name == "klines":
        if call.query.get("interval") != "1m":
            return _error(400, -1120, "Invalid interval.")
        return _json(_klines(history, symbol, numbers, limit, call.now_ns), used)
    if name == "aggTrades":
        if not spot and numbers.get("endTime", 0) - numbers.get("startTime", 2**62) >= HOUR_MS:
            return _error(400, -1127, "Lookup interval is too big. More than 1 hours between startTime and endTime.")
        return _json(_aggregate_trades(history, symbol, numbers, limit, 0 if spot else call.now_ns - TWO_DAYS_NS), used)
    if name == "historicalTrades" and "fromId" in numbers:
        rows = history.from_id(symbol, numbers["fromId"], limit)
    else:
        rows = history.recent(symbol, limit)
    return _json(_history_rows(rows, spot), used)


def _history_rows(rows: Rows, spot: bool) -> list[dict[str, Any]]:
    rows = rows.take(rows.flags == 0)
    quotes = rows.prices() * rows.quantities()
    last = {"isBestMatch": True} if spot else {"isRPITrade": False}
    return [{"id": number, "price": price, "qty": quantity, "quoteQty": f"{quote:.8f}", "time": at,
             "isBuyerMaker": sell, **last}
            for number, price, quantity, quote, at, sell in
            zip(rows.trade_id.tolist(), rows.price_texts(), rows.quantity_texts(), quotes.tolist(),
                (rows.timestamp // 1_000_000).tolist(), rows.sell.tolist(), strict=True)]


def _aggregate_trades(history: History, symbol: int, numbers: dict[str, int], limit: int, oldest_ns: int) -> list[dict[str, Any]]:
    """Return complete aggregates (adjacent trades of one price, side and time); without a parameter, the newest ones."""
    asked, newest = limit * FILLS, False
    if "startTime" in numbers or "endTime" in numbers:
        start, end = numbers.get("startTime", 0), numbers.get("endTime", 2**43)
        rows = history.between(symbol, start * NS_PER_MS, end * NS_PER_MS, asked)
    elif "fromId" in numbers:
        rows = history.from_id(symbol, numbers["fromId"] + AGGREGATES_BEHIND, asked)
    else:
        rows, newest = history.recent(symbol, asked), True
    cut = len(rows) == asked
    rows = rows.take((rows.flags == 0) & (rows.timestamp >= oldest_ns))
    groups = aggregate(rows)
    if cut:  # the outermost aggregate may be incomplete
        groups = groups[1:] if newest else groups[:-1]
    ids, prices, sells = rows.trade_id.tolist(), rows.price_texts(), rows.sell.tolist()
    times, scale = (rows.timestamp // NS_PER_MS).tolist(), int(history.table.quantity_scale[symbol])
    return [{"a": ids[first] - AGGREGATES_BEHIND, "p": prices[first], "q": f"{units / scale:.8f}", "f": ids[first],
             "l": ids[last], "T": times[first], "m": sells[first]}
            for first, last, units in (groups[-limit:] if newest else groups[:limit])]


def _depth(history: History, symbol: int, spot: bool, limit: int, now_ns: int, used: float) -> HttpReply:
    """Answer with the best simulated levels, at most `limit`."""
    if not 1 <= limit <= 5000 or (not spot and limit not in DEPTHS):
        return _error(400, -4021, f"{limit} is not valid depth limit.")
    book = history.book(symbol, now_ns)
    times = {} if spot else {"E": now_ns // NS_PER_MS, "T": book.at_ns // NS_PER_MS}
    sides = {side: book.texts(side, limit) for side in ("bids", "asks")}
    return _json({"lastUpdateId": book.number, **times, **sides}, used)


def _ticker(made: MadeTicker, spot: bool) -> dict[str, Any]:
    best = {"bidPrice": made.text("bid"), "askPrice": made.text("ask")} if spot else {}
    return {"symbol": made.table.symbols[made.symbol], "lastPrice": made.text("last"), "openPrice": made.text("open"),
            "highPrice": made.text("high"), "lowPrice": made.text("low"), "volume": made.volume, "count": made.trades,
            "quoteVolume": f"{made.turnover:.8f}", "closeTime": made.at_ns // NS_PER_MS, **best}


def _klines(history: History, symbol: int, numbers: dict[str, int], limit: int, now_ns: int) -> list[list[Any]]:
    """Return the first minutes from startTime on; without it, the last ones."""
    end_ns = (numbers["endTime"] + 1) * NS_PER_MS if "endTime" in numbers else now_ns
    bars = history.minutes(symbol, numbers.get("startTime", 0) * NS_PER_MS, end_ns)
    spec = history.table.specs[symbol]
    rows: list[list[Any]] = []
    for bar in bars[:limit] if "startTime" in numbers else bars[-limit:]:
        prices = [f"{units / 10**spec.price_decimals:.{spec.price_decimals}f}" for units in
                  (bar.open, bar.high, bar.low, bar.close)]
        start = bar.start_ns // NS_PER_MS
        rows.append([start, *prices, f"{bar.quantity / 10**spec.quantity_decimals:.{spec.quantity_decimals}f}", start + 59_999,
                     f"{bar.quote:.8f}", bar.trades, "0", "0", "0"])
    return rows


def _exchange_info(spot: bool, history: History, rules: Rules, now_ns: int) -> dict[str, Any]:
    """Return the symbol list: active symbols, paused symbols, and symbols that a collector must ignore."""
    rows = [_listed(spec.symbol, spec.base, spec.quote, spot) | _steps(spec.price_decimals, spec.quantity_decimals)
            for spec in history.table.specs]
    if spot:
        rows += [_listed("ETHBTC", "ETH", "BTC", spot),
                 *({**_listed(symbol, symbol.removesuffix("USDT"), "USDT", spot), "status": status}
                   for symbol, status in PAUSED.items())]
    else:
        rows += [{**_listed("BTCUSDT_261225", "BTC", "USDT", spot), "contractType": "CURRENT_QUARTER"},
                 {**_listed("BTCUSDC", "BTC", "USDC", spot), "marginAsset": "USDC"},
                 {**_listed("RAYUSDT", "RAY", "USDT", spot), "status": "SETTLING"}]
    return {"timezone": "UTC", "serverTime": now_ns // 1_000_000, "exchangeFilters": [], "symbols": rows,
            "rateLimits": [{"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1,
                            "limit": int(rules.requests)}]}


def _listed(symbol: str, base: str, quote: str, spot: bool) -> dict[str, Any]:
    row: dict[str, Any] = {"symbol": symbol, "status": "TRADING", "baseAsset": base, "quoteAsset": quote, **_steps(8, 8)}
    if spot:
        return {**row, "isSpotTradingAllowed": True, "permissions": [], "permissionSets": [["SPOT", "MARGIN"]]}
    return {**row, "pair": symbol, "contractType": "PERPETUAL", "deliveryDate": 4133404800000, "marginAsset": quote,
            "onboardDate": 1569398400000, "underlyingType": "COIN", "underlyingSubType": []}


def _steps(price_decimals: int, quantity_decimals: int) -> dict[str, Any]:
    """Return the price and quantity steps, which only clients that place orders read."""
    tick, step = f"{10.0**-price_decimals:.8f}", f"{10.0**-quantity_decimals:.8f}"
    lot = {"minQty": step, "maxQty": "900000000.00000000", "stepSize": step}
    return {"baseAssetPrecision": 8, "quotePrecision": 8, "pricePrecision": price_decimals,
            "quantityPrecision": quantity_decimals, "orderTypes": ["LIMIT", "MARKET"], "filters": [
                {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "1000000.00000000", "tickSize": tick},
                {"filterType": "LOT_SIZE", **lot}, {"filterType": "MARKET_LOT_SIZE", **lot},
                {"filterType": "MIN_NOTIONAL", "notional": "5", "minNotional": "5"}]}


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
    symbols=_spot_symbols, open=_open, receive=_receive, encode=_encode_spot, rest=_rest_of(spot=True),
    maintenance=_maintenance, read_tape=_read_tape, reframe=_reframe)
FUTURES_DIALECT = Dialect(
    exchange="binance", market_type=FUTURES, ws_path="/public/ws", rest_path="", rules=FUTURES_RULES,
    first_id=5_266_583_935, listed=540, timestamp_unit_ns=1_000_000,
    flag_shares={VOID: 0.0037, Flag.INSURANCE_FUND.value: 0.0002, Flag.ADL.value: 0.0001}, trades_per_frame=1,
    binary=False, stamps=STAMPS, symbols=_futures_symbols, open=_open, receive=_receive, encode=_encode_futures,
    rest=_rest_of(spot=False), maintenance=_maintenance, read_tape=_read_tape, reframe=_reframe)


@hookimpl
def simulator_dialects() -> list[Dialect]:
    """Return both markets."""
    return [SPOT_DIALECT, FUTURES_DIALECT]
