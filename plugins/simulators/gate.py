"""Simulate Gate v4 spot and USDT futures: trades, all-or-nothing subscriptions, symbol lists and trade history.

Based on the same documents and observations as the exchange plugin (2026).
- One unknown symbol rejects the whole request, and the answer names it. A client that is silent for a minute is disconnected.
  An address may have 300 connections at once.
- Sizes are text if the client sent X-Gate-Size-Decimal: 1; otherwise they are whole contracts, rounded towards zero.
- REST returns the newest rows of a range of whole seconds (including its whole last second) within the last 30 days. On spot,
  `page` skips pages; on futures, `offset` skips rows.
- Candles are ascending, include both ends of the range and the minute in progress (not closed), and omit minutes without a
  trade. A range longer than the limit, or one that starts more than 10,000 minutes ago, is rejected.
- The `time` of a request must be in seconds. The simulator does not compare it with its own clock.
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
)

SIZES_IN_TEXT = "x-gate-size-decimal"
DECIMAL_COINS = ("ETH", "SOL", "XRP", "PEPE")  # their contracts trade in fractions
OTHER_LISTS = ("/margin/currency_pairs", "/futures/btc/contracts")
THIRTY_DAYS_S = 30 * 86_400
MINUTE_NS = 60 * 10**9
POINTS, POINTS_BACK = {SPOT: 1000, FUTURES: 2000}, 10_000
UNKNOWN = {SPOT: "unknown currency pair", FUTURES: "unknown contract"}
SECONDS = range(1_500_000_000, 10_000_000_000)
SPOT_FRAME = ('{"time":%d,"time_ms":%d,"channel":"spot.trades","event":"update","result":{"id":%d,"id_market":%d,'
              '"create_time":%d,"create_time_ms":"%d.%06d","side":"%s","currency_pair":"%s","amount":"%s","price":"%s",'
              '"range":"%d-%d","stock":"%s","money":"USDT","trade_mode":0}}')
FUTURES_FRAME = ('{"time":%d,"time_ms":%d,"channel":"futures.trades","event":"update","result":[{"id":%d,"size":%s,'
                 '"create_time":%d,"create_time_ms":%d,"price":"%s","contract":"%s"%s}]}')


def _open(session: ClientSession, rules: Rules) -> Reply | HttpReply:
    session.form = "decimal" if session.headers.get(SIZES_IN_TEXT) == "1" else "whole"
    return Reply()


def _receive_on(market_type: str) -> Callable[[ClientSession, Message, Rules, History], Reply]:
    channel = f"{market_type}.trades"

    def receive(session: ClientSession, message: Message, rules: Rules, history: History) -> Reply:
        try:
            request = json.loads(message)
        except ValueError:
            request = None
        if not isinstance(request, dict):
            return _answer({}, 1, "Invalid request body format")
        if request.get("channel") == f"{market_type}.ping":
            return Reply([f'{{"time":{request.get("time", 0)},"channel":"{market_type}.pong","event":"","result":null}}'])
        event, payload = request.get("event"), request.get("payload")
        if "time" in request and request["time"] not in SECONDS:
            return _answer(request, 2, "the gap between request time and server time is too large")
        if request.get("channel") != channel or event not in ("subscribe", "unsubscribe"):
            return _answer(request, 2, f"unknown channel {request.get('channel')}")
        if not isinstance(payload, list) or not payload or not all(isinstance(symbol, str) for symbol in payload):
            return _answer(request, 1, "request payload does not follow json schema")
        unknown = next((symbol for symbol in payload if symbol not in history.table.index), None)
        if unknown is not None:
            return _answer(request, 2, f"{UNKNOWN[market_type]} {unknown}")
        for symbol in payload:
            if event == "subscribe":
                session.topics[symbol] = symbol
            else:
                session.topics.pop(symbol, None)
        return _answer(request)

    return receive


def _answer(request: dict[str, Any], code: int = 0, text: str = "") -> Reply:
    answer: dict[str, Any] = {name: request[name] for name in ("time", "id", "channel", "event", "payload") if name in request}
    if code:
        answer["error"] = {"code": code, "message": text}
    answer["result"] = {"status": "fail" if code else "success"}
    return Reply([json.dumps(answer, separators=(",", ":"), ensure_ascii=False)])


def _encode_spot(form: str, rows: Rows) -> list[bytes]:
    return [(SPOT_FRAME % (at // 10**9, at // 10**6, number, number, at // 10**9, at // 10**6, at % 10**6, _side(sell), name,
                           amount, price, number, number, name.removesuffix("_USDT"))).encode()
            for at, number, sell, name, amount, price in
            zip(rows.timestamp.tolist(), rows.trade_id.tolist(), rows.sell.tolist(), rows.symbols(), rows.quantity_texts(),
                rows.price_texts(), strict=True)]


def _side(sell: bool) -> str:
    return "sell" if sell else "buy"


def _sizes(form: str, rows: Rows) -> list[str]:
    """Return the signed sizes as JSON: text in the decimal form, whole numbers otherwise."""
    signed = [f"-{text}" if sell else text for text, sell in zip(rows.quantity_texts(), rows.sell.tolist(), strict=True)]
    return [f'"{text}"' for text in signed] if form == "decimal" else [str(int(float(text))) for text in signed]


def _encode_futures(form: str, rows: Rows) -> list[bytes]:
    internal = [',"is_internal":true' if flags & Flag.INTERNAL.value else "" for flags in rows.flags.tolist()]
    return [(FUTURES_FRAME % (at // 1000, at, number, size, at // 1000, at, price, name, more)).encode()
            for at, number, size, price, name, more in
            zip((rows.timestamp // 10**6).tolist(), rows.trade_id.tolist(), _sizes(form, rows), rows.price_texts(),
                rows.symbols(), internal, strict=True)]


def _read_tape(raw: bytes) -> list[TapeTrade]:
    frame = json.loads(raw)
    result = frame.get("result")
    if frame.get("event") != "update" or frame.get("channel") not in ("spot.trades", "futures.trades"):
        return []
    if isinstance(result, dict):
        whole, _, part = result["create_time_ms"].partition(".")
        return [TapeTrade(symbol=result["currency_pair"], trade_id=result.get("id_market", result["id"]),
                          timestamp_ns=int(whole) * 10**6 + int(f"{part[:6]:0<6}"), price=result["price"],
                          quantity=result["amount"], sell=result["side"] == "sell")]
    return [TapeTrade(symbol=row["contract"], trade_id=row["id"], timestamp_ns=row["create_time_ms"] * 10**6,
                      price=row["price"], quantity=str(row["size"]).lstrip("-"), sell=str(row["size"]).startswith("-"),
                      flags=Flag.INTERNAL.value * row.get("is_internal", False)) for row in result]


def _rest_of(market_type: str) -> Callable[[HttpCall, Rules, History, Meter], HttpReply]:
    spot = market_type == SPOT
    list_path, trades_path, candles_path = (("/spot/currency_pairs", "/spot/trades", "/spot/candlesticks") if spot else (
        "/futures/usdt/contracts", "/futures/usdt/trades", "/futures/usdt/candlesticks"))

    def rest(call: HttpCall, rules: Rules, history: History, meter: Meter) -> HttpReply:
        path = call.path.removeprefix("/api/v4")
        if meter.spend(1) > rules.requests > 0:
            return _error(429, "TOO_MANY_REQUESTS", "Request Rate limit Exceeded")
        if path == list_path:
            return _json(_pairs(history) if spot else _contracts(history))
        if path in OTHER_LISTS:  # markets that are not simulated
            return _json([])
        tickers_path = trades_path.replace("trades", "tickers")
        if path == tickers_path and not {"currency_pair", "contract"} & call.query.keys():
            keys = ("currency_pair", "quote_volume") if spot else ("contract", "volume_24h_quote")
            pairs = zip(history.table.symbols, history.table.volumes, strict=True)
            return _json([dict(zip(keys, (symbol, str(volume)), strict=True)) for symbol, volume in pairs])
        book_path = trades_path.replace("trades", "order_book")
        if path not in (trades_path, candles_path, book_path, tickers_path):
            return _error(404, "NOT_FOUND", "not found")
        symbol = history.table.index.get(call.query.get("currency_pair" if spot else "contract", ""))
        if symbol is None:
            return _error(400, "INVALID_CURRENCY_PAIR" if spot else "CONTRACT_NOT_FOUND", "unknown symbol")
        numbers = {name: text for name, text in call.query.items() if name in ("limit", "from", "to", "page", "offset")}
        if not all(text.isdecimal() for text in numbers.values()):
            return _error(400, "INVALID_PARAM_VALUE", "not a number")
        given = {name: int(text) for name, text in numbers.items()}
        if path == tickers_path:
            return _json([_ticker(history.ticker(symbol, call.now_ns), spot)])
        if path == book_path:
            return _book(market_type, call, given.get("limit", 10), history, symbol)
        return (_trades if path == trades_path else _candles)(market_type, call, given, history, symbol)

    return rest


def _trades(market_type: str, call: HttpCall, given: dict[str, int], history: History, symbol: int) -> HttpReply:
    limit, now_s = given.get("limit", 100), call.now_ns // 10**9
    skipped = limit * (given.get("page", 1) - 1) if market_type == SPOT else given.get("offset", 0)
    if not 1 <= limit <= 1000 or not 0 <= skipped <= 100_000:
        return _error(400, "INVALID_PARAM_VALUE", "invalid limit or page")
    start, end = max(given.get("from", 0), now_s - THIRTY_DAYS_S), given.get("to", now_s)
    rows = history.last_between(symbol, start * 10**9, end * 10**9 + 10**9 - 1, limit + skipped)
    rows = rows.take(slice(max(0, len(rows) - limit - skipped), len(rows) - skipped if skipped < len(rows) else 0))
    form = "decimal" if call.headers.get(SIZES_IN_TEXT) == "1" else "whole"
    return _json((_spot_rows(rows) if market_type == SPOT else _futures_rows(form, rows))[::-1])


def _ticker(made: MadeTicker, spot: bool) -> dict[str, str]:
    name = made.table.symbols[made.symbol]
    own = {"currency_pair": name, "base_volume": made.volume, "quote_volume": f"{made.turnover:.8f}"} if spot else {
        "contract": name, "volume_24h": made.volume, "volume_24h_quote": f"{made.turnover:.8f}"}
    return own | {"last": made.text("last"), "change_percentage": f"{100 * (made.last / made.open - 1):.2f}",
                  "high_24h": made.text("high"), "low_24h": made.text("low"), "highest_bid": made.text("bid"),
                  "lowest_ask": made.text("ask")}


def _book(market_type: str, call: HttpCall, limit: int, history: History, symbol: int) -> HttpReply:
    """Answer with rows of text on spot and with objects on futures; without the header, their sizes are whole numbers."""
    if not 1 <= limit <= 100:
        return _error(400, "INVALID_PARAM_VALUE", "invalid limit")
    book = history.book(symbol, call.now_ns)
    number = {"id": book.number} if call.query.get("with_id") == "true" else {}
    if market_type == SPOT:
        return _json({**number, "current": call.now_ns // 10**6, "update": book.at_ns // 10**6,
                      **{side: book.texts(side, limit) for side in ("asks", "bids")}})
    text = call.headers.get(SIZES_IN_TEXT) == "1"
    sides = {side: [{"p": price, "s": size if text else int(float(size))} for price, size in book.texts(side, limit)]
             for side in ("asks", "bids")}
    return _json({**number, "current": call.now_ns // 10**6 / 1000, "update": book.at_ns // 10**6 / 1000, **sides})


def _candles(market_type: str, call: HttpCall, given: dict[str, int], history: History, symbol: int) -> HttpReply:
    now_s, most = call.now_ns // 10**9, POINTS[market_type]
    limit, end = given.get("limit", 100), given.get("to", now_s)
    start = given.get("from", end - (limit - 1) * 60)
    if call.query.get("interval") != "1m" or not 1 <= limit <= most or ("limit" in given and {"from", "to"} & given.keys()):
        return _error(400, "INVALID_PARAM_VALUE", "invalid interval, or limit beside from and to")
    if end // 60 - start // 60 >= most:
        return _error(400, "INVALID_PARAM_VALUE", "Candlestick range too broad. Maximum "
                                                  f"{most} data points are allowed per request")
    if start < now_s - POINTS_BACK * 60:
        return _error(400, "INVALID_PARAM_VALUE", f"Candlestick too long ago. Maximum {POINTS_BACK} points ago are allowed")
    rows: list[Any] = []
    table, size = history.table, history.table.specs[symbol].contract_size
    for bar in history.minutes(symbol, start // 60 * MINUTE_NS, (end // 60 + 1) * MINUTE_NS):
        at, (first, high, low, last) = bar.start_ns // 10**9, (table.price_text(symbol, price) for price in
                                                               (bar.open, bar.high, bar.low, bar.close))
        volume, quote = table.quantity_text(symbol, bar.quantity), f"{bar.quote * size:.8f}"
        if market_type == SPOT:
            rows.append([str(at), quote, last, high, low, first, volume, "true" if at + 60 <= now_s else "false"])
        else:
            text = volume if call.headers.get(SIZES_IN_TEXT) == "1" else int(float(volume))
            rows.append({"t": at, "v": text, "c": last, "h": high, "l": low, "o": first, "sum": quote})
    return _json(rows)


def _json(body: Any) -> HttpReply:
    return HttpReply(200, json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode())


def _error(status: int, label: str, text: str) -> HttpReply:
    return HttpReply(status, json.dumps({"label": label, "message": text}).encode())


def _spot_rows(rows: Rows) -> list[dict[str, Any]]:
    return [{"id": str(number), "create_time": str(at // 10**9), "create_time_ms": f"{at // 10**6}.{at % 10**6:06d}",
             "currency_pair": name, "side": _side(sell), "amount": amount, "price": price, "sequence_id": str(number)}
            for number, at, name, sell, amount, price in
            zip(rows.trade_id.tolist(), rows.timestamp.tolist(), rows.symbols(), rows.sell.tolist(), rows.quantity_texts(),
                rows.price_texts(), strict=True)]


def _futures_rows(form: str, rows: Rows) -> list[dict[str, Any]]:
    return [{"id": number, "contract": name, "create_time": at / 1000, "create_time_ms": at / 1000, "size": json.loads(size),
             "price": price, **({"is_internal": True} if flags & Flag.INTERNAL.value else {})}
            for number, name, at, size, price, flags in
            zip(rows.trade_id.tolist(), rows.symbols(), (rows.timestamp // 10**6).tolist(), _sizes(form, rows),
                rows.price_texts(), rows.flags.tolist(), strict=True)]


def _pairs(history: History) -> list[dict[str, Any]]:
    """Return the active pairs, and others that a collector must ignore."""
    listed = [(spec.base, spec.quote, "tradable", spec.quantity_decimals, spec.price_decimals) for spec in history.table.specs]
    listed += [("ETH", "BTC", "tradable", 4, 4), ("LUNA", "USDT", "untradable", 4, 4)]
    return [{"id": f"{base}_{quote}", "base": base, "quote": quote, "fee": "0.2", "amount_precision": amount, "precision": price,
             "trade_status": status, "sell_start": 0, "buy_start": 0} for base, quote, status, amount, price in listed]


def _contracts(history: History) -> list[dict[str, Any]]:
    listed = [(spec.symbol, spec.contract_size, "trading", spec.quantity_decimals > 0, spec.price_decimals)
              for spec in history.table.specs]
    listed += [("RAY_USDT", 1.0, "delisting", False, 4), ("NEW_USDT", 1.0, "prelaunch", False, 4)]
    return [{"name": name, "type": "direct", "quanto_multiplier": f"{size:.10f}".rstrip("0").rstrip("."), "status": status,
             "in_delisting": status == "delisting", "enable_decimal": decimal, "funding_interval": 28800,
             "order_price_round": f"{10.0**-places:.{places}f}", "mark_price_round": f"{10.0**-places:.{places}f}",
             "order_size_min": 1, "order_size_max": 1_000_000, "maker_fee_rate": "-0.0001", "taker_fee_rate": "0.00075",
             "leverage_min": "1", "leverage_max": "50", "order_price_deviate": "0.2", "create_time": 1758175736}
            for name, size, status, decimal, places in listed]


def _symbols_of(market_type: str) -> Callable[[Sequence[Coin]], list[SymbolSpec]]:
    def symbols(coins: Sequence[Coin]) -> list[SymbolSpec]:
        return [SymbolSpec(symbol=f"{coin.name}_USDT", coin=coin.name, base=coin.name, quote="USDT", price=coin.price,
                           price_decimals=max(0, 6 - len(str(int(coin.price)))) if coin.price >= 1 else 10,
                           quantity_decimals=6 if market_type == SPOT else 2 * (coin.name in DECIMAL_COINS),
                           contract_size=1.0 if market_type == SPOT else _contract_size(coin.price)) for coin in coins]

    return symbols


def _contract_size(price: float) -> float:
    """Return the base units of a contract, chosen so that it is worth a few USDT."""
    return 0.0001 if price > 10_000 else 0.01 if price > 100 else 1.0 if price > 0.1 else 10_000.0


def _dialect(market_type: str, ws_path: str, **facts: Any) -> Dialect:
    def maintenance(form: str, now_ns: int) -> bytes:
        return (f'{{"time":{now_ns // 10**9},"time_ms":{now_ns // 10**6},"channel":"{market_type}.system","event":"update",'
                '"result":{"type":"upgrade","msg":"The connection will soon be closed, please reconnect"}}').encode()

    rules = Rules(messages_per_second=0, messages_close=(1008, ""), streams_per_connection=0, connects_per_5_minutes=0,
                       connections=300, ping_every_s=0, pong_within_s=0, client_silence_s=60, connection_age_s=0,
                       requests_per_minute=1200, request_window_s=10)
    return Dialect(exchange="gate", market_type=market_type, ws_path=ws_path, rest_path="/api/v4", rules=rules, binary=False,
                   trades_per_frame=1, symbols=_symbols_of(market_type), open=_open, receive=_receive_on(market_type),
                   rest=_rest_of(market_type), maintenance=maintenance, read_tape=_read_tape, reframe=lambda form, raw: raw,
                   **facts)


@hookimpl
def simulator_dialects() -> list[Dialect]:
    """Return both markets."""
    stamps = (Stamp(marker=b'"time":', what="time", digits=10, unit_ns=10**9),
              Stamp(marker=b'"time_ms":', what="time", digits=13, unit_ns=10**6), Stamp(marker=b'"id":', what="id", digits=9),
              Stamp(marker=b'"create_time":', what="time", digits=10, unit_ns=10**9),
              Stamp(marker=b'"create_time_ms":', what="time", digits=13, unit_ns=10**6))
    return [_dialect(SPOT, "/ws/v4/", first_id=217_831_625, listed=1001, timestamp_unit_ns=1000, flag_shares={}, stamps=(),
                     encode=_encode_spot),
            _dialect(FUTURES, "/v4/ws/usdt", first_id=825_348_721, listed=580, timestamp_unit_ns=10**6,
                     flag_shares={Flag.INTERNAL.value: 0.002}, stamps=stamps, encode=_encode_futures)]
