"""Binance's REST side, simulated: the symbol list, and what history a keyless caller gets, by weight.

On futures `historicalTrades` wants a key, and rows that are no ordinary trades are missing everywhere; id gaps in its
answers are normal. More weight than a minute allows is answered 429, half as much again 418.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from pumpwatch import History, HttpCall, HttpReply, Meter, Rows, Rules, aggregate

SPOT_WEIGHTS = {"ping": 1, "time": 1, "exchangeInfo": 20, "trades": 25, "historicalTrades": 25, "aggTrades": 4,
                "ticker/24hr": 80}
FUTURES_WEIGHTS = {"ping": 1, "time": 1, "exchangeInfo": 1, "trades": 5, "historicalTrades": 200, "aggTrades": 20,
                   "ticker/24hr": 40}
ROW_LIMIT = 1000


def _json(body: Any, used: float) -> HttpReply:
    return HttpReply(200, json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode(),
                     {"X-MBX-USED-WEIGHT-1M": str(int(used))})


def _error(status: int, code: int, text: str, headers: dict[str, str] | None = None) -> HttpReply:
    return HttpReply(status, json.dumps({"code": code, "msg": text}).encode(), headers or {})


def rest_of(*, spot: bool) -> Callable[[HttpCall, Rules, History, Meter], HttpReply]:
    """Return the REST side of a market."""
    prefix = "/api/v3/" if spot else "/fapi/v1/"
    weights = SPOT_WEIGHTS if spot else FUTURES_WEIGHTS

    def rest(call: HttpCall, rules: Rules, history: History, meter: Meter) -> HttpReply:
        name = call.path.removeprefix(prefix)
        if not call.path.startswith(prefix) or name not in weights:
            return HttpReply(404, b"<html><body><h2>404 Not found</h2></body></html>", {"Content-Type": "text/html"})
        used = meter.spend(weights[name])
        if used > rules.requests > 0:
            return _over(used, rules, meter, call.now_ns)
        if name == "exchangeInfo":
            return _json(_exchange_info(spot, history, rules, call.now_ns), used)
        if name == "ticker/24hr":
            return _json([{"symbol": symbol, "quoteVolume": f"{volume:.8f}", "count": 1000} for symbol, volume in
                          zip(history.table.symbols, history.table.volumes, strict=True)], used)
        if name in ("ping", "time"):
            return _json({"serverTime": call.now_ns // 1_000_000} if name == "time" else {}, used)
        return _trades(call, name, spot, history, used)

    return rest


def _over(used: float, rules: Rules, meter: Meter, now_ns: int) -> HttpReply:
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
        return _error(400, -1121, "Invalid symbol.")
    numbers = {}
    for key in ("limit", "fromId", "startTime", "endTime"):
        if key in call.query:
            if not call.query[key].isdigit():
                return _error(400, -1100, f"Illegal characters found in parameter '{key}'.")
            numbers[key] = int(call.query[key])
    limit = numbers.get("limit", 500)
    if not 1 <= limit <= ROW_LIMIT:
        if not spot or limit < 1:
            return _error(400, -1130, "Data sent for parameter 'limit' is not valid.")
        limit = ROW_LIMIT
    if name == "aggTrades":
        return _json(_aggregated(history, symbol, numbers, limit), used)
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


def _aggregated(history: History, symbol: int, numbers: dict[str, int], limit: int) -> list[dict[str, Any]]:
    """Return aggregate trades: neighbours of one price, side and time are one. Their id here is that of their first."""
    if "startTime" in numbers or "endTime" in numbers:
        end = numbers.get("endTime", 2**43) * 1_000_000
        rows = history.between(symbol, numbers.get("startTime", 0) * 1_000_000, end, limit)
    elif "fromId" in numbers:
        rows = history.from_id(symbol, numbers["fromId"], limit)
    else:
        rows = history.recent(symbol, limit)
    rows = rows.take(rows.flags == 0)
    ids, prices, sells = rows.trade_id.tolist(), rows.price_texts(), rows.sell.tolist()
    times, scale = (rows.timestamp // 1_000_000).tolist(), int(history.table.quantity_scale[symbol])
    return [{"a": ids[first], "p": prices[first], "q": f"{units / scale:.8f}", "f": ids[first], "l": ids[last],
             "T": times[first], "m": sells[first]} for first, last, units in aggregate(rows)]


def _exchange_info(spot: bool, history: History, rules: Rules, now_ns: int) -> dict[str, Any]:
    """Return the symbol list: what trades, what may again, and what a collector must leave out."""
    rows = [_listed(spec.symbol, spec.base, spec.quote, spot) for spec in history.table.specs]
    if spot:
        rows += [_listed("ETHBTC", "ETH", "BTC", spot),
                 {**_listed("LUNAUSDT", "LUNA", "USDT", spot), "status": "BREAK"},
                 {**_listed("VENUSDT", "VEN", "USDT", spot), "status": "HALT"}]
    else:
        rows += [{**_listed("BTCUSDT_261225", "BTC", "USDT", spot), "contractType": "CURRENT_QUARTER"},
                 {**_listed("BTCUSDC", "BTC", "USDC", spot), "marginAsset": "USDC"},
                 {**_listed("RAYUSDT", "RAY", "USDT", spot), "status": "SETTLING"}]
    return {"timezone": "UTC", "serverTime": now_ns // 1_000_000, "exchangeFilters": [], "symbols": rows,
            "rateLimits": [{"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1,
                            "limit": int(rules.requests)}]}


def _listed(symbol: str, base: str, quote: str, spot: bool) -> dict[str, Any]:
    row: dict[str, Any] = {"symbol": symbol, "status": "TRADING", "baseAsset": base, "quoteAsset": quote}
    if spot:
        return {**row, "isSpotTradingAllowed": True, "permissions": [], "permissionSets": [["SPOT", "MARGIN"]]}
    return {**row, "pair": symbol, "contractType": "PERPETUAL", "deliveryDate": 4133404800000, "marginAsset": quote,
            "onboardDate": 1569398400000, "underlyingType": "COIN", "underlyingSubType": []}
