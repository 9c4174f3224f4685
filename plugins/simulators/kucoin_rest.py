"""KuCoin's REST side, simulated: tokens for connections, symbol and contract lists, and the last 100 trades.

Weights are those of the documents, the pool is 2,000 in 30 seconds: more is answered 429 with code 429000.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from pumpwatch import History, HttpCall, HttpReply, Meter, Rules, SymbolSpec

WEIGHTS = {"/api/v1/bullet-public": 10, "/api/v2/symbols": 4, "/api/v1/contracts/active": 3, "/api/v1/market/histories": 3,
           "/api/v1/trade/history": 5, "/api/v1/market/allTickers": 15}
LISTS = {True: "/api/v2/symbols", False: "/api/v1/contracts/active"}
HISTORIES = {True: "/api/v1/market/histories", False: "/api/v1/trade/history"}
DEPTH = 100


def _answer(data: Any) -> HttpReply:
    return HttpReply(200, json.dumps({"code": "200000", "data": data}, ensure_ascii=False).encode(),
                     {"Content-Type": "application/json"})


def _error(code: str, text: str, status: int = 200) -> HttpReply:
    return HttpReply(status, json.dumps({"code": code, "msg": text}).encode(), {"Content-Type": "application/json"})


def rest_of(*, spot: bool) -> Callable[[HttpCall, Rules, History, Meter], HttpReply]:
    """Return the REST side of a market."""

    def rest(call: HttpCall, rules: Rules, history: History, meter: Meter) -> HttpReply:
        weight = WEIGHTS.get(call.path)
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
        if call.path == HISTORIES[spot]:
            return _trades(call, spot, history)
        return _error("404000", "Url Not Found", 404)

    return rest


def _token(call: HttpCall) -> HttpReply:
    """Give a token, good for one connection."""
    made = call.memory["made"] = call.memory.get("made", 0) + 1
    token = f"2neAiuYvAU61ZDXANAGAsiL4+{call.now_ns}/{made}=="
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
            "isInverse": False, "status": "Open", "turnoverOf24h": volume, "markPrice": spec.price}


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
    dated = {"symbol": "XBTMZ26", "type": "FFICSX", "expireDate": 1798185600000, "baseCurrency": "XBT"}
    other = {"symbol": "ETHUSDCM", "baseCurrency": "ETH", "quoteCurrency": "USDC", "settleCurrency": "USDC"}
    return [plain | {"status": "Paused"}, plain | inverse, plain | dated, plain | other]


def _trades(call: HttpCall, spot: bool, history: History) -> HttpReply:
    """Return the last trades: oldest first on spot, newest first on futures."""
    symbol = history.table.index.get(call.query.get("symbol", ""))
    if symbol is None:
        return _error("900001" if spot else "100001", "symbol not exists")
    rows = history.recent(symbol, DEPTH)
    found = []
    for number, price, quantity, sell, at in zip(rows.trade_id.tolist(), rows.price_texts(), rows.quantity_texts(),
                                                 rows.sell.tolist(), rows.timestamp.tolist(), strict=True):
        side = "sell" if sell else "buy"
        if spot:
            found.append({"sequence": str(number), "price": price, "size": quantity, "side": side, "time": at})
        else:
            found.append({"sequence": number, "contractId": symbol + 1, "tradeId": str(number), "ts": at, "size": int(quantity),
                          "price": price, "side": side})
    return _answer(found if spot else found[::-1])
