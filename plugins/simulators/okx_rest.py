"""OKX's REST side, simulated: instruments and tickers of a type, and the trades of the last three months, by id or by time.

`after` is exclusive and pages towards older rows. More than 20 requests in 2 seconds, of all paths and both markets, are
answered 429 with code 50011; everything else that is wrong is answered 200 with a code of its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np

from pumpwatch import History, HttpCall, HttpReply, Meter, Rows, Rules, SymbolSpec

DEPTHS = {"/api/v5/market/history-trades": 100, "/api/v5/market/trades": 500}
SPOT_EXTRAS = (("ETH-BTC", "ETH", "BTC", "live"), ("BTC-USDC", "BTC", "USDC", "live"), ("LUNA-USDT", "LUNA", "USDT", "suspend"),
               ("NEW-USDT", "NEW", "USDT", "preopen"))


def _answer(data: list[dict[str, Any]]) -> HttpReply:
    return HttpReply(200, json.dumps({"code": "0", "msg": "", "data": data}, ensure_ascii=False).encode(),
                     {"Content-Type": "application/json"})


def _error(code: str, text: str, status: int = 200) -> HttpReply:
    return HttpReply(status, json.dumps({"code": code, "msg": text, "data": []}).encode(), {"Content-Type": "application/json"})


def rest_of(*, spot: bool) -> Callable[[HttpCall, Rules, History, Meter], HttpReply]:
    """Return the REST side of a market."""

    def rest(call: HttpCall, rules: Rules, history: History, meter: Meter) -> HttpReply:
        if meter.spend(1) > rules.requests > 0:
            return _error("50011", "Too Many Requests", 429)
        if call.path == "/api/v5/public/instruments":
            return _instruments(call, spot, history)
        if call.path == "/api/v5/market/tickers":
            return _answer(_tickers(spot, history) if call.query.get("instType") == ("SPOT" if spot else "SWAP") else [])
        if call.path in DEPTHS:
            return _trades(call, history)
        return _error("404", "Not Found", 404)

    return rest


def _instruments(call: HttpCall, spot: bool, history: History) -> HttpReply:
    wanted = call.query.get("instType")
    if wanted not in ("SPOT", "SWAP", "FUTURES", "MARGIN", "OPTION"):
        return _error("51000", "Parameter instType error")
    if wanted == "SPOT" and spot:
        rows = [_spot_row(spec.symbol, spec.base, spec.quote, "live") for spec in history.table.specs]
        return _answer(rows + [_spot_row(*extra) for extra in SPOT_EXTRAS])
    if wanted == "SWAP" and not spot:
        rows = [_swap_row(spec, number) for number, spec in enumerate(history.table.specs)]
        return _answer([*rows, *_swap_extras()])
    return _answer([])


def _tickers(spot: bool, history: History) -> list[dict[str, Any]]:
    """Return rows whose volume is in the quote on spot, and in the base on swaps."""
    return [{"instType": "SPOT" if spot else "SWAP", "instId": spec.symbol, "last": str(spec.price),
             "volCcy24h": str(volume if spot else volume / spec.price)}
            for spec, volume in zip(history.table.specs, history.table.volumes, strict=True)]


def _spot_row(symbol: str, base: str, quote: str, state: str) -> dict[str, Any]:
    return {"instType": "SPOT", "instId": symbol, "uly": "", "instFamily": "", "baseCcy": base, "quoteCcy": quote,
            "settleCcy": "", "ctVal": "", "ctMult": "", "ctValCcy": "", "ctType": "", "expTime": "", "lotSz": "0.00000001",
            "minSz": "0.00001", "tickSz": "0.00000001", "state": state, "ruleType": "normal"}


def _swap_row(spec: SymbolSpec, number: int) -> dict[str, Any]:
    """Make a row; every other contract's size is a product of two factors."""
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


def _trades(call: HttpCall, history: History) -> HttpReply:
    symbol = history.table.index.get(call.query.get("instId", ""))
    if symbol is None:
        return _error("51001", f"Instrument ID, Instrument ID code, or Spread ID doesn't exist. {call.query.get('instId', '')}")
    numbers = {}
    for key in ("limit", "after", "before", "type"):
        if key in call.query:
            if not call.query[key].isdigit():
                return _error("51000", f"Parameter {key} error")
            numbers[key] = int(call.query[key])
    deepest = DEPTHS[call.path]
    rows = history.recent(symbol, 10**9 if "after" in numbers else deepest)
    if "after" in numbers and call.path.endswith("history-trades"):
        column = rows.timestamp // 1_000_000 if numbers.get("type", 1) == 2 else rows.trade_id
        rows = rows.take(column < numbers["after"])
    return _answer(_rows(rows.take(slice(-min(numbers.get("limit", 100), deepest), None))))


def _rows(rows: Rows) -> list[dict[str, Any]]:
    rows = rows.take(np.arange(len(rows) - 1, -1, -1))
    return [{"instId": name, "side": "sell" if sell else "buy", "sz": quantity, "source": "0", "px": price,
             "tradeId": str(number), "ts": str(at)}
            for name, sell, quantity, price, number, at in
            zip(rows.symbols(), rows.sell.tolist(), rows.quantity_texts(), rows.price_texts(), rows.trade_id.tolist(),
                (rows.timestamp // 1_000_000).tolist(), strict=True)]
