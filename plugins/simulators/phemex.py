"""Simulate Phemex spot and USDT perpetuals: one symbol per request, past trades after subscribing, and required pings.

Based on the same documents and probes as the exchange plugin (2026). Where they leave something open, the simulator chooses
the behaviour that is harder for a client.
- `unsubscribe` drops every symbol, regardless of its arguments. More than one symbol per request is an invalid argument. Every
  second acknowledgement comes after the past trades.
- A connection takes 101 symbols and the number of connections is unlimited, as probed; the documents say 20 symbols and 5
  connections.
- Identical trades in the same nanosecond occur, as on the real venue.
- REST trade histories are cached for one second. kline/list omits the minute in progress, accepts whole minutes only, rejects
  a range of 1,000 minutes or more, and weighs 10.
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
    History,
    HttpCall,
    HttpReply,
    MadeTicker,
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

PAST_ROWS = 1000
CANDLES = "/exchange/public/md/v2/kline/list"
OLD_LIST = "/v1/exchange/public/products"
LISTS = ("/public/products", "/exchange/public/cfg/v2/products", OLD_LIST)
CACHED_NS, MINUTE_NS = 10**9, 60 * 10**9
MOMENT_NS = 20_000_000  # trades within this time get the same nanosecond, as the fills of one taker order do at the real venue
VOLUMES = {"trades": "/md/spot/ticker/24hr/all", "trades_p": "/md/v2/ticker/24hr/all"}
LEVELS = 30  # per side of a book
SCALE = 8  # of every simulated currency except USD and TRY
THOUSANDS = ("PEPE", "BONK", "FLOKI", "LUNC", "XEC", "RATS", "SHIB")
INVALID, TOO_MANY = (6001, "invalid argument"), (6015, "subscription limit exceeded")


def _open(session: ClientSession, rules: Rules) -> Reply | HttpReply:
    return Reply() if session.path in ("", "/", "/ws") else HttpReply(404)


def _answer(number: Any, result: Any, error: tuple[int, str] | None = None) -> str:
    problem = None if error is None else {"code": error[0], "message": error[1]}
    return json.dumps({"error": problem, "id": number, "result": result}, separators=(",", ":"))


def _receive_on(channel: str, key: str) -> Callable[[ClientSession, Message, Rules, History], Reply]:
    """Return the function that answers the requests of a market; the method of the other market is an invalid argument."""

    def receive(session: ClientSession, message: Message, rules: Rules, history: History) -> Reply:
        try:
            request = json.loads(message)
            number, method, params = request.get("id"), request["method"], request.get("params", [])
        except (ValueError, LookupError, TypeError, AttributeError):
            return Reply([_answer(None, None, INVALID)])
        if method == "server.ping":
            return Reply([_answer(number, "pong")])
        if method == f"{channel}.unsubscribe":
            session.topics.clear()
            return Reply([_answer(number, {"status": "success"})])
        known = isinstance(params, list) and len(params) == 1 and params[0] in history.table.index
        if method != f"{channel}.subscribe" or not known:
            return Reply([_answer(number, None, INVALID)])
        symbol = params[0]
        if symbol not in session.topics and len(session.topics) >= rules.streams_per_connection:
            return Reply([_answer(number, None, TOO_MANY)])
        session.topics[symbol] = symbol
        rows = history.recent(history.table.index[symbol], PAST_ROWS)
        past = Past(_frame(key, symbol, rows, "snapshot").decode(), rows)
        answer = _answer(number, {"status": "success"})
        session.notes["asked"] = asked = session.notes.get("asked", 0) + 1
        return Reply([answer, past] if asked % 2 else [past, answer])

    return receive


def _frame(key: str, symbol: str, rows: Rows, kind: str) -> bytes:
    """Return one frame with the trades of a symbol, newest first."""
    newest, sequence = (int(rows.timestamp[-1]), rows.sequences()[-1]) if len(rows) else (0, 0)
    text = json.dumps({"dts": newest + 168_537_240, "mts": newest + 10_091_398, "sequence": sequence, "symbol": symbol,
                       key: _trades(key, rows), "type": kind}, separators=(",", ":"))
    return text.encode()


def _trades(key: str, rows: Rows) -> list[list[Any]]:
    scaled = key == "trades"
    prices: Sequence[Any] = rows.price.tolist() if scaled else rows.price_texts()
    quantities: Sequence[Any] = rows.quantity.tolist() if scaled else rows.quantity_texts()
    found = [[at, "Sell" if sell else "Buy", price, quantity] for at, sell, price, quantity in
             zip(rows.timestamp.tolist(), rows.sell.tolist(), prices, quantities, strict=True)]
    return found[::-1]


def _encode_as(key: str) -> Callable[[str, Rows], list[bytes]]:
    return lambda form, rows: [_frame(key, rows.symbols()[0], rows, "incremental")]


def _rest_of(path: str, key: str) -> Callable[[HttpCall, Rules, History, Meter], HttpReply]:
    def rest(call: HttpCall, rules: Rules, history: History, meter: Meter) -> HttpReply:
        book_path = path.replace("trade", "orderbook")
        if call.path not in (*LISTS, path, book_path, VOLUMES[key], CANDLES, VOLUMES[key][:-4]):
            return HttpReply(404, b'{"code":404,"msg":"not found"}')
        if meter.spend(10 if call.path == CANDLES else 1) > rules.requests > 0:
            return HttpReply(429, b'{"code":429,"msg":"too many requests"}', {"Retry-After": str(meter.retry_after_s())})
        if call.path in LISTS:
            products: Any = _products(history, key)
            if call.path == OLD_LIST:  # only the contracts of the first API version
                products = [row for row in products["products"] if row["type"] == "Perpetual"]
            return HttpReply(200, json.dumps({"code": 0, "msg": "", "data": products}).encode())
        if call.path == VOLUMES[key]:
            pairs = zip(history.table.symbols, history.table.volumes, strict=True)
            rows = [{"symbol": symbol, "turnoverEv": int(volume * 10**SCALE)} if key == "trades" else
                    {"symbol": symbol, "turnoverRv": str(volume)} for symbol, volume in pairs]
            return HttpReply(200, json.dumps({"error": None, "id": 0, "result": rows}).encode())
        symbol = call.query.get("symbol", "")
        number = history.table.index.get(symbol)
        if number is None:
            return HttpReply(500, _answer(None, None, INVALID).encode())
        if call.path == CANDLES:
            return _candles(call, history, number, scaled=key == "trades")
        if call.path == VOLUMES[key][:-4]:
            return _ticker(history.ticker(number, call.now_ns), scaled=key == "trades")
        if call.path == book_path:
            return _book(call, history, number, scaled=key == "trades")
        cache: dict[tuple[str, str], tuple[int, HttpReply]] = call.memory.setdefault("cache", {})
        at_ns, reply = cache.get((path, symbol), (0, HttpReply(200)))
        if call.now_ns - at_ns >= CACHED_NS:
            frame = _frame(key, symbol, history.recent(number, PAST_ROWS), "snapshot").decode()
            reply = HttpReply(200, f'{{"error":null,"id":0,"result":{frame}}}'.encode())
            cache[path, symbol] = call.now_ns, reply
        return reply

    return rest


def _ticker(made: MadeTicker, *, scaled: bool) -> HttpReply:
    """Return the 24-hour ticker of a symbol: scaled integers with the best prices on spot, text without them on futures."""
    figures: dict[str, Any] = {
        "lastEp": made.last, "openEp": made.open, "highEp": made.high, "lowEp": made.low, "bidEp": made.bid, "askEp": made.ask,
        "volumeEv": made.quantity, "turnoverEv": round(made.turnover * 10**SCALE)} if scaled else {
        "closeRp": made.text("last"), "openRp": made.text("open"), "highRp": made.text("high"), "lowRp": made.text("low"),
        "volumeRq": made.volume, "turnoverRv": f"{made.turnover:.8f}"}
    return HttpReply(200, _answer(0, {**figures, "symbol": made.table.symbols[made.symbol], "timestamp": made.at_ns}).encode())


def _book(call: HttpCall, history: History, symbol: int, *, scaled: bool) -> HttpReply:
    """Return 30 levels: scaled integers on spot, text on futures."""
    book = history.book(symbol, call.now_ns)
    sides = {side: getattr(book, side)[:LEVELS] if scaled else book.texts(side, LEVELS) for side in ("asks", "bids")}
    result = {"book" if scaled else "orderbook_p": sides, "depth": LEVELS, "sequence": book.number, "timestamp": call.now_ns,
              "symbol": book.table.symbols[book.symbol], "type": "snapshot"}
    return HttpReply(200, _answer(0, result).encode())


def _candles(call: HttpCall, history: History, symbol: int, *, scaled: bool) -> HttpReply:
    """Return the finished minutes of a range, newest first."""
    texts = [call.query.get(name, "") for name in ("from", "to")]
    numbers = [int(text) for text in texts if text.isdecimal()]
    if call.query.get("resolution") != "60" or len(numbers) < 2 or any(number % 60 for number in numbers) or not (
            0 < numbers[1] - numbers[0] < 1000 * 60):
        return HttpReply(200, b'{"code":30000,"msg":"Please double check input arguments","data":null}')
    start_ns, end_ns = numbers[0] * 10**9, min(numbers[1] * 10**9, call.now_ns // MINUTE_NS * MINUTE_NS)
    table, rows = history.table, list[list[Any]]()
    for bar in history.minutes(symbol, start_ns, end_ns):
        prices = (bar.open, bar.open, bar.high, bar.low, bar.close)  # the first is the previous close
        figures: list[Any] = [*prices, bar.quantity, round(bar.quote * 10**SCALE)] if scaled else [
            *(table.price_text(symbol, price) for price in prices), table.quantity_text(symbol, bar.quantity), f"{bar.quote:.8f}"]
        rows.append([bar.start_ns // 10**9, 60, *figures, table.symbols[symbol]])
    return HttpReply(200, json.dumps({"code": 0, "msg": "OK", "data": {"total": -1, "rows": rows[::-1]}}).encode())


def _products(history: History, key: str) -> dict[str, Any]:
    """Return products of both markets: this market's symbols, and others that a collector must leave out."""
    steps = [(10.0**-spec.price_decimals, 10.0**-spec.quantity_decimals) for spec in history.table.specs]
    listed = [(_spot if key == "trades" else _perpetual)(spec.symbol, spec.base, "Listed", tick=tick, step=step)
              for spec, (tick, step) in zip(history.table.specs, steps, strict=True)]
    others = [_coin_margined("BTCUSD", "BTC"), _coin_margined("cETHUSD", "ETH"),
              _spot("sSAITAMAUSDT", "SAITAMA", "Delisted"), _spot("sUSDTTRY", "USDT", "Listed", "TRY")]
    perpetuals = [_perpetual("LUNAUSDT", "LUNA", "Delisted"), _perpetual("BTCUSDC", "BTC", "Listed", "USDC")]
    names = {row["baseCurrency"] for row in listed} | {"USDT", "USDC", "BTC", "ETH", "LUNA", "SAITAMA"}
    currencies = [{"currency": name, "name": name, "valueScale": SCALE, "status": "Listed"} for name in sorted(names)]
    currencies += [{"currency": name, "name": name, "valueScale": 4, "status": "Listed"} for name in ("USD", "TRY")]
    spot = key == "trades"
    return {"ratioScale": 8, "currencies": currencies, "products": others + (listed if spot else []),
            "perpProductsV2": perpetuals + ([] if spot else listed), "perpProductsPilot": None}


def _spot(symbol: str, base: str, status: str, quote: str = "USDT", *, tick: float = 0.01, step: float = 0.01) -> dict[str, Any]:
    return {"symbol": symbol, "type": "Spot", "displaySymbol": f"{base} / {quote}", "quoteCurrency": quote, "baseCurrency": base,
            "priceScale": SCALE if quote == "USDT" else 4, "pricePrecision": 4, "status": status,
            "baseTickSize": f"{step:.8f} {base}", "quoteTickSize": f"{tick:.8f} {quote}"}


def _perpetual(symbol: str, base: str, status: str, quote: str = "USDT", *, tick: float = 0.01,
               step: float = 0.01) -> dict[str, Any]:
    base = base.replace("1000", "1000 ") if base.startswith("1000") else base
    return {"perpProductSubType": "Normal", "symbol": symbol, "type": "PerpetualV2", "displaySymbol": f"{base} / {quote}",
            "contractUnderlyingAssets": base, "settleCurrency": quote, "quoteCurrency": quote, "baseCurrency": base,
            "priceScale": 0, "status": status, "qtyPrecision": 3,
            "tickSize": f"{tick:.8f}", "qtyStepSize": f"{step:.8f}"}


def _coin_margined(symbol: str, coin: str) -> dict[str, Any]:
    return {"symbol": symbol, "type": "Perpetual", "displaySymbol": f"{coin} / USD", "contractUnderlyingAssets": "USD",
            "settleCurrency": coin, "quoteCurrency": "USD", "contractSize": 1.0, "priceScale": 4, "status": "Listed",
            "tickSize": 0.5, "lotSize": 1}


def _spot_symbols(coins: Sequence[Coin]) -> list[SymbolSpec]:
    return [SymbolSpec(symbol=f"s{coin.name}USDT", coin=coin.name, base=coin.name, quote="USDT", price=coin.price,
                       price_decimals=SCALE, quantity_decimals=SCALE) for coin in coins]


def _futures_symbols(coins: Sequence[Coin]) -> list[SymbolSpec]:
    specs = []
    for coin in coins:
        symbol, base, price = f"{coin.name}USDT", coin.name, coin.price
        if base in THOUSANDS:
            symbol, base, price = f"u1000{base}USDT", f"1000{base}", price * 1000
        specs.append(SymbolSpec(symbol=symbol, coin=coin.name, base=base, quote="USDT", price=price,
                                price_decimals=max(0, 5 - len(str(int(price)))) if price >= 1 else 7,
                                quantity_decimals=3 if price > 100 else 1))
    return specs


def _read_tape(raw: bytes) -> list[TapeTrade]:
    frame = json.loads(raw)
    places = SCALE if "trades" in frame else 0
    rows = frame.get("trades_p") or frame.get("trades") or []
    return [TapeTrade(symbol=frame["symbol"], trade_id=frame["sequence"] * PAST_ROWS + number, timestamp_ns=at,
                      price=_digits(price, places), quantity=_digits(quantity, places), sell=side == "Sell")
            for number, (at, side, price, quantity) in enumerate(rows[::-1]) if frame.get("type") != "snapshot"]


def _digits(number: Any, places: int) -> str:
    text = str(number)
    return f"{text[:-places] or '0'}.{text[-places:]}" if places and len(text) > places else (
        f"0.{text.zfill(places)}" if places else text)


RULES = Rules(messages_per_second=20, messages_close=(1008, "too many requests"), streams_per_connection=101,
                   connects_per_5_minutes=200, ping_every_s=0, pong_within_s=0, client_silence_s=31, connection_age_s=0,
                   requests_per_minute=1000, request_window_s=300, shared_by_markets=True)


def _dialect(market_type: str, channel: str, key: str, path: str,
             symbols: Callable[[Sequence[Coin]], list[SymbolSpec]]) -> Dialect:
    return Dialect(
        exchange="phemex", market_type=market_type, ws_path="", rest_path="", rules=RULES, first_id=1,
        timestamp_unit_ns=MOMENT_NS, flag_shares={}, trades_per_frame=20, binary=False, stamps=(), symbols=symbols, open=_open,
        receive=_receive_on(channel, key), encode=_encode_as(key), rest=_rest_of(path, key),
        maintenance=lambda form, now_ns: None, read_tape=_read_tape, reframe=lambda form, raw: raw,
        listed=177 if market_type == SPOT else 116)


@hookimpl
def simulator_dialects() -> list[Dialect]:
    """Return both markets."""
    return [_dialect(SPOT, "trade", "trades", "/md/trade", _spot_symbols),
            _dialect(FUTURES, "trade_p", "trades_p", "/md/v2/trade", _futures_symbols)]
