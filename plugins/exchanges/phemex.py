"""Phemex spot and USDT perpetuals: every trade, from `trade.subscribe` and `trade_p.subscribe`.

Documents: phemex-docs _spot.md, _contract.md and _generic.md (2026-01-07), phemex-api-docs (2024-06-17); limits, snapshots and
the scales of tickers as others probed them in 2026-09, rows of candles in 2026-05; sessions recorded in 2021-07 and 2025-12.
Checked 2026-11-27.

Symbols: case matters and is kept. Spot has a prefix: `sSOMIUSDT`; but `sOLUSDT` is spot OL, not SOL. Perpetuals of cheap
coins count thousands: `u1000PEPEUSDT`, base "1000 PEPE". Coin and quote come from the product row, never from the symbol.
Ids: none. All symbols share `sequence`, which ascends and skips. A trade is identified by time, side, price and quantity
(compared as numbers), and by its number among equal trades. A live frame with the sequence and rows of an earlier one is a
repetition of it; otherwise no two recorded frames of a symbol share a sequence.
Times: ns. Side: the taker's. Rows come newest first.
Units: spot prices and quantities are integers, scaled by 10^valueScale of the quote and of the base (`currencies`; 8 for
all so far). Perpetuals have decimal texts, in base units. Coin-margined contracts (`BTCUSD`) are not collected, but their
frames are parsed; they have integer prices of scale 4.
Quirks: every subscription is answered with up to 1,000 past trades, before or after its acknowledgement. A request takes
one symbol. `unsubscribe` drops all symbols, and it is unknown whether it can drop a single one. A delisted symbol therefore
stays subscribed until the next renewal of the connection. Without a ping the server closes after 31 s, even while data
flow. The products have no volumes; the 24-hour tickers have them, on spot as an integer scaled as the quote.
Limits: 20 requests a second per connection. The documents allow 20 symbols per connection, their later revision 100; 101
were counted before error 6015. 100 are used, and 6015 moves a symbol to another connection. The documents allow 5
connections per client, but more were accepted. Both markets share one address, and so 200 connects and 5,000 requests in 5
minutes.
History: about the newest 1,000 trades, without paging, from a cache that may be slightly old; subscribing returns the same.
Candles: kline/list, kept for compatibility by the documents, because only it takes a range; fewer than 1,000 minutes, both
ends whole minutes, the end exclusive, without the current minute. kline weighs 10. Spot has scaled integers.
Books: 30 levels, with a time in ns; they may come from the cache too. Tickers: md/spot/ticker/24hr, scaled, and
md/v2/ticker/24hr, without the best prices.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import msgspec

from pumpwatch import (
    FUTURES,
    SPOT,
    BadFrame,
    Candle,
    Candles,
    Columns,
    Control,
    ControlKind,
    Heartbeat,
    HistoryDepth,
    HistoryQuery,
    HttpRequest,
    IdKind,
    Instrument,
    Limits,
    OrderBooks,
    QuantityUnit,
    Tickers,
    Venue,
    Volumes,
    ascending_candles,
    book_reader,
    hookimpl,
    split_multiplier,
    tickers_at,
)

NS_PER_S = 10**9
NO_ROOM = 6015
PING = '{"id":%d,"method":"server.ping","params":[]}'
OTHER_DATA = ("book", "orderbook_p", "kline", "kline_p", "tick", "tick_p", "market24h", "market24h_p", "spot_market24h",
              "index_market24h", "data", "fields")
USDT_SCALE = 10**8
COIN_MARGINED_SCALE = 10**4  # `priceScale` of every coin-margined contract recorded


class Row(msgspec.Struct, array_like=True, gc=False):
    """A trade of a perpetual."""

    at: int
    side: Literal["Buy", "Sell"]
    price: str
    quantity: str


class ScaledRow(msgspec.Struct, array_like=True, gc=False):
    """A trade of spot, or of a coin-margined contract."""

    at: int
    side: Literal["Buy", "Sell"]
    price: int
    quantity: int


class Frame(msgspec.Struct, gc=False):
    """Trades of a perpetual, live or past."""

    symbol: str
    sequence: int
    trades_p: list[Row]
    type: Literal["incremental", "snapshot"] = "incremental"


class ScaledFrame(msgspec.Struct, gc=False):
    """The same of spot."""

    symbol: str
    sequence: int
    trades: list[ScaledRow]
    type: Literal["incremental", "snapshot"] = "incremental"


class CandleRow(msgspec.Struct, array_like=True):
    """A candle, as text or, on spot, as scaled integers; the symbol may follow."""

    at: int
    interval: Literal[60]
    last_close: float
    open: float
    high: float
    low: float
    close: float
    volume: float
    turnover: float


class CandleRows(msgspec.Struct):
    """The rows of an answer."""

    rows: list[CandleRow]


class CandlesAnswer(msgspec.Struct):
    """The answer of kline; without data if it is an error."""

    code: int
    msg: str = ""
    data: CandleRows | None = None


class Answer(msgspec.Struct):
    """A REST answer with trades in it."""

    result: msgspec.Raw


_frames = msgspec.json.Decoder(list[Frame], strict=False)
_scaled_frames = msgspec.json.Decoder(list[ScaledFrame], strict=False)
_answer = msgspec.json.Decoder(Answer)
_candles = msgspec.json.Decoder(CandlesAnswer, strict=False)
_decimals = msgspec.json.Decoder(list[float])


def _subscribe(method: str) -> Callable[[Sequence[str], int], str]:
    def frame(symbols: Sequence[str], request_id: int) -> str:
        return msgspec.json.encode({"id": request_id, "method": method, "params": list(symbols)}).decode()

    return frame


def unsubscribe(symbols: Sequence[str], request_id: int) -> str:
    """Return a ping, which is answered and has no effect: `unsubscribe` would drop all other symbols too."""
    return PING % request_id


def parse_spot(text: bytes | memoryview, columns: Columns) -> None:
    """Append the trades of a JSON array of spot frames, as the venue's integers."""
    _append_scaled(_scaled_frames.decode(text), columns)


def parse_futures(text: bytes | memoryview, columns: Columns) -> None:
    """Append the trades of a JSON array of frames, either all of perpetuals or all of coin-margined contracts."""
    try:
        frames = _frames.decode(text)
    except msgspec.ValidationError:
        _append_coin_margined(_scaled_frames.decode(text), columns)
    else:
        _append_decimal(frames, columns)


def _append_decimal(frames: list[Frame], columns: Columns) -> None:
    rows = _rows_of(frames, [frame.trades_p for frame in frames], columns)
    columns.price = prices = _numbers([row.price for row in rows])
    columns.quantity = quantities = _numbers([row.quantity for row in rows])
    columns.trade_id = _identities(columns.sell, prices, quantities)


def _append_scaled(frames: list[ScaledFrame], columns: Columns) -> None:
    rows = _rows_of(frames, [frame.trades for frame in frames], columns)
    columns.price, columns.quantity = prices, quantities = [row.price for row in rows], [row.quantity for row in rows]
    columns.trade_id = _identities(columns.sell, prices, quantities)


def _append_coin_margined(frames: list[ScaledFrame], columns: Columns) -> None:
    if not all(frame.symbol.endswith("USD") for frame in frames):
        raise BadFrame("integers where a perpetual has decimals")
    _append_scaled(frames, columns)
    columns.price = [price / COIN_MARGINED_SCALE for price in columns.price]


def _rows_of(frames: Sequence[Frame | ScaledFrame], rows_by_frame: Sequence[Sequence[Any]], columns: Columns) -> list[Any]:
    """Return the rows of all frames, and fill the columns that both kinds of frames share."""
    counts = [len(part) for part in rows_by_frame]
    rows: list[Any] = []
    for part in rows_by_frame:
        rows += part
    frame_of = frames
    if counts.count(1) != len(counts):
        columns.counts = counts
        frame_of = [frame for frame, part in zip(frames, rows_by_frame, strict=True) for _ in part]
    columns.symbol = [frame.symbol for frame in frame_of]
    columns.sequence_number = [frame.sequence for frame in frame_of]
    if "snapshot" in [frame.type for frame in frames]:
        columns.past = [row for row, frame in enumerate(frame_of) if frame.type == "snapshot"]
    columns.timestamp = [row.at for row in rows]
    columns.sell = [row.side == "Sell" for row in rows]
    return rows


def _identities(sells: Sequence[bool | None], prices: Sequence[float], quantities: Sequence[float]) -> list[str]:
    return [f"S{price}x{quantity}" if sell else f"B{price}x{quantity}"
            for sell, price, quantity in zip(sells, _texts(prices), _texts(quantities), strict=True)]


def _numbers(texts: Sequence[str]) -> list[float]:
    """Return texts as numbers, decoded together in half the time. Raises for a text that is not a JSON number."""
    numbers = _decimals.decode(f"[{','.join(texts)}]")
    if len(numbers) != len(texts):
        raise BadFrame("several numbers in one text")
    return numbers


def _texts(numbers: Sequence[float]) -> list[str]:
    """Return numbers as text, encoded together in half the time. 100, 100.0 and 100.00 become the same text."""
    if not numbers:
        return []
    return f"{msgspec.json.encode(numbers).decode()[1:-1]},".replace(".0,", ",")[:-1].split(",")


def read_control(frame: bytes) -> Control | None:
    """Read a frame that is not a trade: acknowledgement, rejection, pong, or another channel's data."""
    message = msgspec.json.decode(frame)
    if not isinstance(message, dict):
        return None
    if "result" in message or "error" in message:
        number = message.get("id")
        request_id = number if isinstance(number, int) else None
        error, result = message.get("error"), message.get("result")
        if isinstance(error, dict):
            kind = ControlKind.FULL if error.get("code") == NO_ROOM else ControlKind.REFUSAL
            return Control(kind, request_id, reason=f"{error.get('code')} {error.get('message')}")
        if result == "pong":  # to a heartbeat (id 0), or to the ping sent for an unsubscription
            return Control(ControlKind.ACK if request_id else ControlKind.PONG, request_id)
        return Control(ControlKind.ACK, request_id) if isinstance(result, dict) else None
    known = [key for key in OTHER_DATA if isinstance(message.get(key), (dict, list))]
    return Control(ControlKind.OTHER, reason=known[0]) if known else None


def _products(body: bytes, kind: str) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Return (the listed products of a type that trade against USDT, valueScale by currency)."""
    data = msgspec.json.decode(body)["data"]
    rows = [row for row in (*data["products"], *(data.get("perpProductsV2") or ()))
            if row["type"] == kind and row["status"] == "Listed" and row["quoteCurrency"] == "USDT"]
    return rows, {row["currency"]: row["valueScale"] for row in data["currencies"]}


def _instrument(row: dict[str, Any], **units: float) -> Instrument:
    base = row["baseCurrency"].replace(" ", "")
    return Instrument(symbol=row["symbol"], base=base, quote=row["quoteCurrency"], multiplier=split_multiplier(base), **units)


def spot_instruments(bodies: Sequence[bytes]) -> list[Instrument]:
    """Read the spot products. Raises for a currency without a scale, because its trades could not be read."""
    rows, scales = _products(bodies[0], "Spot")
    return [_instrument(row, price_divisor=float(10 ** scales[row["quoteCurrency"]]),
                        contract_size=float(f"1e-{scales[row['baseCurrency']]}")) for row in rows]


def futures_instruments(bodies: Sequence[bytes]) -> list[Instrument]:
    """Read the perpetuals that are quoted and settled in USDT, including stocks and pre-market contracts."""
    rows, _ = _products(bodies[0], "PerpetualV2")
    return [_instrument(row) for row in rows if row["settleCurrency"] == "USDT"]


def unlisted_spot(symbol: str) -> Instrument | None:
    """Return an unlisted spot symbol with the scale of all symbols so far; None without the prefix `s` of spot."""
    if not symbol.startswith("s"):
        return None
    return Instrument(symbol=symbol, base=symbol, quote="", price_divisor=1e8, contract_size=1e-8)


def spot_volumes(body: bytes) -> dict[str, float]:
    """Read the tickers of all spot symbols: symbol -> USDT traded in 24 hours."""
    return {row["symbol"]: row["turnoverEv"] / USDT_SCALE for row in msgspec.json.decode(body)["result"]}


def futures_volumes(body: bytes) -> dict[str, float]:
    """Read the tickers of all perpetuals: symbol -> USDT traded in 24 hours."""
    return {row["symbol"]: float(row["turnoverRv"] or 0) for row in msgspec.json.decode(body)["result"]}


def _history_request(path: str) -> Callable[[HistoryQuery], HttpRequest]:
    """Request the newest trades for any query: the venue does not page."""
    return lambda query: HttpRequest(path, {"symbol": query.symbol})


def _history_parser(parse: Callable[[bytes, Columns], None]) -> Callable[[bytes, str, Columns], None]:
    def parse_history(body: bytes, symbol: str, columns: Columns) -> None:
        """Append the rows of a symbol's history, newest first as they come."""
        parse(b"[" + bytes(_answer.decode(body).result) + b"]", columns)
        if set(columns.symbol) - {symbol}:
            raise BadFrame(f"a history that is not of {symbol[:80]}")

    return parse_history


def candles_request(symbol: str, start_ns: int, end_ns: int) -> HttpRequest:
    """Request the whole minutes of a range."""
    return HttpRequest("/exchange/public/md/v2/kline/list", {"symbol": symbol, "resolution": 60, "from": _minutes(start_ns) * 60,
                                                             "to": _minutes(end_ns) * 60}, weight=10)


def _minutes(time_ns: int) -> int:
    return -(-time_ns // (60 * NS_PER_S))


def parse_candles(body: bytes, instrument: Instrument) -> list[Candle]:
    """Read candles of either market; the instrument has the scales, and the turnover has that of prices."""
    answer, divisor = _candles.decode(body), instrument.price_divisor
    if answer.code or answer.data is None:
        raise BadFrame(f"{answer.code} {answer.msg}")
    found: list[Candle] = ascending_candles(
        Candle(start_ns=row.at * NS_PER_S, open=row.open / divisor, high=row.high / divisor, low=row.low / divisor,
               close=row.close / divisor, volume=row.volume * instrument.contract_size, quote_volume=row.turnover / divisor)
        for row in answer.data.rows)
    return found


def _books(path: str, key: str) -> OrderBooks:
    """Return the snapshots of 30 levels; scaled integers on spot."""
    def data(body: bytes) -> dict[str, Any]:
        result = msgspec.json.decode(body)["result"]
        return {**result, **result[key]}

    return OrderBooks(request=lambda symbol: HttpRequest(path, {"symbol": symbol}),
                      parse=book_reader(data, time=("timestamp", 1), sequence="sequence", symbol="symbol"))


def _tickers(path: str, **names: str) -> Tickers:
    return tickers_at(path, data=lambda body: msgspec.json.decode(body)["result"], symbol="symbol", time=("timestamp", 1),
                      names=names)


def _venue(market_type: str, channel: str, history_path: str, **facts: Any) -> Venue:
    return Venue(
        exchange="phemex", market_type=market_type, ws_url="wss://ws.phemex.com", rest_url="https://api.phemex.com", headers={},
        limits=Limits(symbols_per_connection=100, symbols_per_message=1, message_bytes=4096, connection_bytes=0,
                      messages_per_second=20, subscriptions_per_hour=0, connects_per_second=4, connects_per_5_minutes=200,
                      connection_age_s=24 * 3600, requests_per_minute=1000, request_window_s=300, shared_by_markets=True),
        heartbeat=Heartbeat(interval_s=5, text=lambda now_ns: PING % 0), stale_after_s=20, id_kind=IdKind.NONE,
        timestamp_unit_ns=1, newest_first=True, history=HistoryDepth(rows_per_request=1000, pages=False, reach_s=0),
        candles=Candles(request=candles_request, parse=parse_candles, rows_per_request=999, reach_s=math.inf, tolerance=0.0,
                        why=""),
        subscribe=_subscribe(f"{channel}.subscribe"), unsubscribe=unsubscribe, drops=False, read_control=read_control,
        instruments_requests=[HttpRequest("/public/products")], history_request=_history_request(history_path), **facts,
    )


VENUES = [
    _venue(SPOT, "trade", "/md/trade", quantity_unit=QuantityUnit.CONTRACTS, parse=parse_spot,
           parse_instruments=spot_instruments, unlisted=unlisted_spot,
           volumes=Volumes(HttpRequest("/md/spot/ticker/24hr/all"), spot_volumes), parse_history=_history_parser(parse_spot),
           books=_books("/md/orderbook", "book"),
           tickers=_tickers("/md/spot/ticker/24hr", price="lastEp", open_24h="openEp", high="highEp", low="lowEp", bid="bidEp",
                            ask="askEp", volume="volumeEv", quote_volume="turnoverEv")),
    _venue(FUTURES, "trade_p", "/md/v2/trade", quantity_unit=QuantityUnit.BASE, parse=parse_futures,
           parse_instruments=futures_instruments, volumes=Volumes(HttpRequest("/md/v2/ticker/24hr/all"), futures_volumes),
           parse_history=_history_parser(parse_futures), books=_books("/md/v2/orderbook", "orderbook_p"),
           tickers=_tickers("/md/v2/ticker/24hr", price="closeRp", open_24h="openRp", high="highRp", low="lowRp",
                            volume="volumeRq", quote_volume="turnoverRv")),
]


@hookimpl
def exchange_venues() -> list[Venue]:
    """Return both markets."""
    return VENUES
