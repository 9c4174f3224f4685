"""Gate v4 spot and USDT futures: every trade, from `spot.trades` and `futures.trades`.

Documents: gate.com docs developers/apiv4/ws and futures/ws (2026-05), gateapi-python SpotApi and FuturesApi (2025-07),
frames recorded in 2026-09. Checked 2026-11-21.

Symbols: `BTC_USDT`, spelt alike on both markets; some are Chinese. Ids: contiguous per symbol: `id_market` on spot (REST
calls it sequence_id; `id` stands in for it in frames of before 2026), `id` on futures. A spot row with a `range` of
several market ids is several fills in one: it keeps its own id, is flagged, and the others are used up without a trade.
Times: spot in text, ms with a fraction; futures in ms; REST of futures in seconds with a fraction. Side: `side` on
spot, the taker's; on futures the sign of `size`. Quantities: base units on spot, on futures contracts of
quanto_multiplier. `is_internal`: a takeover by insurance fund or ADL, flagged.
Quirks: without the header X-Gate-Size-Decimal sizes are cut to whole contracts, and a part of one shows as 0: no side, no
size, so it is refused. One unknown symbol refuses its whole request, and is named. A request carries the time it is sent
at, within 60 s of the server's. `spot.system` and `futures.system` announce a restart. Spot lists leveraged tokens.
Limits: 300 connections an address at once, no documented number of symbols; 200 worked in probes. REST: 200 requests in
10 s, each path for itself. How often one may connect, and send, is not documented: what is set here is ours.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from pumpwatch_plugins.exchanges.gate_trades import parse_futures, parse_futures_history, parse_spot, parse_spot_history

from pumpwatch import (
    FUTURES,
    SPOT,
    Control,
    ControlKind,
    Heartbeat,
    HistoryDepth,
    HistoryQuery,
    HttpRequest,
    IdKind,
    Instrument,
    Limits,
    QuantityUnit,
    Venue,
    Volumes,
    hookimpl,
    split_multiplier,
)

NAMES = re.compile(r"[^\s\"'`,;:()\[\]]+")
NS_PER_S = 10**9
THIRTY_DAYS_S = 30 * 86_400


def _request(channel: str, event: str) -> Callable[[Sequence[str], int], str]:
    def frame(symbols: Sequence[str], request_id: int) -> str:
        request = {"id": request_id, "channel": channel, "event": event, "payload": list(symbols)}
        return msgspec.json.encode(request).decode()

    return frame


def stamp(text: str, now_ns: int) -> str:
    """Put the time of sending into a request."""
    return f'{{"time":{now_ns // 10**9},{text[1:]}'


def _ping(channel: str) -> Callable[[int], str]:
    return lambda now_ns: stamp(f'{{"channel":"{channel}"}}', now_ns)


def read_control(frame: bytes) -> Control | None:
    """Read a frame that is no trade: acknowledgement, refusal, pong, announced restart, or another channel's data."""
    message = msgspec.json.decode(frame)
    if not isinstance(message, dict):
        return None
    channel, event = message.get("channel"), message.get("event")
    if not isinstance(channel, str):
        method = message.get("method")  # the protocol before v4
        known = isinstance(method, str) and "params" in message and method != "trades.update"
        return Control(ControlKind.OTHER, reason=str(method)) if known else None
    if channel.endswith(".pong"):
        return Control(ControlKind.PONG)
    if event in ("subscribe", "unsubscribe"):
        return _answer(message)
    if event not in ("update", "all"):
        return None
    result = message.get("result")
    if channel.endswith(".system"):
        kind = str(result.get("type")) if isinstance(result, dict) else ""
        return Control(ControlKind.RECONNECT if kind == "upgrade" else ControlKind.OTHER, reason=f"{channel} {kind}")
    if channel.endswith(".trades"):
        return Control(ControlKind.OTHER, reason="no trades") if result == [] else None
    return Control(ControlKind.OTHER, reason=channel)


def _answer(message: dict[str, Any]) -> Control:
    """Read the answer to a request. A refusal names the symbol in its words, which holds back no other of the request."""
    number = message.get("id")
    request_id = number if isinstance(number, int) else None
    error, result = message.get("error"), message.get("result")
    failed = isinstance(result, dict) and result.get("status") == "fail"
    if not error and not failed:
        return Control(ControlKind.ACK, request_id)
    text = str(error.get("message", "")) if isinstance(error, dict) else str(error)
    code = error.get("code") if isinstance(error, dict) else None
    return Control(ControlKind.REFUSAL, request_id, tuple(NAMES.findall(text)), f"{code} {text}")


def _list(body: bytes) -> list[dict[str, Any]]:
    return msgspec.json.decode(body, type=list[dict[str, Any]])


def parse_spot_instruments(bodies: Sequence[bytes]) -> list[Instrument]:
    """Read currency_pairs: what trades against USDT."""
    return [Instrument(symbol=row["id"], base=row["base"], quote=row["quote"], multiplier=split_multiplier(row["base"]))
            for row in _list(bodies[0]) if row["quote"] == "USDT" and row["trade_status"] == "tradable"]


def parse_futures_instruments(bodies: Sequence[bytes]) -> list[Instrument]:
    """Read contracts, which have no base and quote but in their names. What is being delisted is left out."""
    found = []
    for row in _list(bodies[0]):
        base, _, quote = row["name"].rpartition("_")
        size = float(row["quanto_multiplier"])
        if quote == "USDT" and size > 0 and row.get("status", "trading") == "trading" and not row.get("in_delisting"):
            found.append(Instrument(symbol=row["name"], base=base, quote=quote, contract_size=size,
                                    multiplier=split_multiplier(base)))
    return found


def _volumes_in(symbol_key: str, volume_key: str) -> Callable[[bytes], dict[str, float]]:
    return lambda body: {row[symbol_key]: float(row[volume_key] or 0) for row in _list(body)}


def _history(path: str, symbol_key: str) -> Callable[[HistoryQuery], HttpRequest]:
    def request(query: HistoryQuery) -> HttpRequest:
        """The newest 1,000 of a stretch of time in whole seconds; what is older is asked for with an earlier end."""
        return HttpRequest(path, {symbol_key: query.symbol, "limit": 1000, "from": query.start_ns // NS_PER_S,
                                  "to": -(-query.end_ns // NS_PER_S)})

    return request


def _venue(market_type: str, **facts: Any) -> Venue:
    channel = f"{market_type}.trades"
    return Venue(
        exchange="gate", market_type=market_type, rest_url="https://api.gateio.ws/api/v4", id_kind=IdKind.CONTIGUOUS,
        limits=Limits(symbols_per_connection=200, symbols_per_message=50, message_bytes=8000, connection_bytes=0,
                      messages_per_second=10, subscriptions_per_hour=0, connects_per_second=4, connects_per_5_minutes=200,
                      connection_age_s=math.inf, requests_per_minute=1200, request_window_s=10, shared_by_markets=False),
        heartbeat=Heartbeat(interval_s=10, text=_ping(f"{market_type}.ping")), stale_after_s=45, stamp=stamp,
        subscribe=_request(channel, "subscribe"), unsubscribe=_request(channel, "unsubscribe"), read_control=read_control,
        history=HistoryDepth(rows_per_request=1000, pages=True, reach_s=THIRTY_DAYS_S), **facts,
    )


VENUES = [
    _venue(SPOT, ws_url="wss://api.gateio.ws/ws/v4/", headers={}, quantity_unit=QuantityUnit.BASE, timestamp_unit_ns=1,
           parse=parse_spot, parse_history=parse_spot_history, parse_instruments=parse_spot_instruments,
           instruments_requests=[HttpRequest("/spot/currency_pairs")],
           volumes=Volumes(HttpRequest("/spot/tickers"), _volumes_in("currency_pair", "quote_volume")),
           history_request=_history("/spot/trades", "currency_pair")),
    _venue(FUTURES, ws_url="wss://fx-ws.gateio.ws/v4/ws/usdt", headers={"X-Gate-Size-Decimal": "1"},
           quantity_unit=QuantityUnit.CONTRACTS, timestamp_unit_ns=1_000_000, parse=parse_futures,
           parse_history=parse_futures_history, parse_instruments=parse_futures_instruments,
           instruments_requests=[HttpRequest("/futures/usdt/contracts")],
           volumes=Volumes(HttpRequest("/futures/usdt/tickers"), _volumes_in("contract", "volume_24h_quote")),
           history_request=_history("/futures/usdt/trades", "contract")),
]


@hookimpl
def exchange_venues() -> list[Venue]:
    return VENUES
