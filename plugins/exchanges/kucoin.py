"""KuCoin spot and USDT perpetuals: every trade, by the classic protocol, or by the tokenless one of 2025 (variant `tokenless`).

Documents: kucoin-universal-sdk spec/ws and spec/rest (2025-11-04); the tokenless protocol as maintained adapters speak it
(2026-08) and as observed live (2026-08-21, 2026-09-22). Checked 2026-11-21.

Symbols: `SOMI-USDT`, `SOMIUSDTM`; after a renaming a symbol keeps the old code, the base has the new one. XBT is BTC.
Thousands are in the base: 1000BONK, 1MBABYDOGE. Ids: `tradeId`, text; today it is the number in `sequence`, until 2022 a
hexadecimal word: a number is kept as one, a word as text. Both ascend per symbol and skip, so they prove no loss.
Times: ns, as text on spot. Side: the taker's. Quantity: base units on spot, lots of `multiplier` base units on futures.
Quirks: each connection wants a token of its own (an old one ends in 401, for ever), and nothing may be sent before the
welcome. A symbol that does not exist is acknowledged and silent. The last trades may come again after a reconnect.
Pings are due every 18 s. The tokenless protocol takes one symbol a request and answers in binary frames. Its REST twins
end with 2026: the lists and the history are the classic ones in both.
Limits, classic: 100 symbols a topic, 400 a spot session (300 in older text, which is kept; more are refused with 509), 100
messages in 10 s, 30 connects a minute. Tokenless: 600 topics a connection (200 are used), 300 messages in 10 s, 250
connects in 5 minutes. Connects, and the 2,000 of REST weight in 30 s, are taken as one limit of both markets: the text
does not say, and that is the harder reading. The contract list tells volumes; for spot allTickers does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote

import msgspec
from pumpwatch_plugins.exchanges.kucoin_frames import data_in, parse, parse_history, read_control

from pumpwatch import (
    FUTURES,
    SPOT,
    BadFrame,
    Heartbeat,
    HistoryDepth,
    HistoryQuery,
    HttpRequest,
    IdKind,
    Instrument,
    Limits,
    QuantityUnit,
    Session,
    Venue,
    Volumes,
    hookimpl,
    split_multiplier,
)

TOPICS = {SPOT: "/market/match:", FUTURES: "/contractMarket/execution:"}
OLD_NAMES = {"XBT": "BTC"}


def _classic_request(market_type: str, kind: str) -> Any:
    def frame(symbols: Sequence[str], request_id: int) -> str:
        return msgspec.json.encode({"id": str(request_id), "type": kind, "topic": TOPICS[market_type] + ",".join(symbols),
                                    "privateChannel": False, "response": True}).decode()

    return frame


def _tokenless_request(market_type: str, action: str) -> Any:
    def frame(symbols: Sequence[str], request_id: int) -> str:
        (symbol,) = symbols
        return msgspec.json.encode({"id": str(request_id), "action": action, "channel": "trade",
                                    "tradeType": market_type.upper(), "symbol": symbol}).decode()

    return frame


def ping(now_ns: int) -> str:
    """With an id of its own, as every message."""
    return f'{{"id":"{now_ns}","type":"ping"}}'


def _session_of(usual: str) -> Callable[[bytes, str, str], str]:
    """Return what makes an address of a token: the server it came with, or the one the config names instead of the usual."""

    def address(body: bytes, ws_url: str, connection: str) -> str:
        data = data_in(body)
        server = data["instanceServers"][0]["endpoint"] if ws_url == usual else ws_url
        if not server.startswith(("wss://", "ws://")):
            raise BadFrame(f"no WebSocket address: {server[:80]}")
        return f"{server}?token={quote(data['token'], safe='')}&connectId={connection}"

    return address


def parse_instruments(bodies: Sequence[bytes]) -> list[Instrument]:
    """Read symbols or contracts: what trades against USDT, spot or linear perpetual."""
    data = data_in(bodies[0])
    rows = data["list"] if isinstance(data, dict) else data
    return [_instrument(row) for row in rows if row["quoteCurrency"] == "USDT" and _trades(row)]


def _trades(row: dict[str, Any]) -> bool:
    if "enableTrading" in row:
        return bool(row["enableTrading"])
    if row["isInverse"] or row.get("settleCurrency", row.get("settlementCurrency")) != "USDT":
        return False
    if "unitSize" in row:  # the tokenless protocol's list
        return str(row["tradingStatus"]) == "1" and row["expiryTime"] is None
    return bool(row["type"] == "FFWCSX" and row["status"] == "Open")


def _instrument(row: dict[str, Any]) -> Instrument:
    base = OLD_NAMES.get(row["baseCurrency"], row["baseCurrency"])
    return Instrument(symbol=row["symbol"], base=base, quote="USDT", multiplier=split_multiplier(base),
                      contract_size=float(row.get("multiplier") or row.get("unitSize") or 1),
                      volume=float(row.get("turnoverOf24h") or 0))


def parse_volumes(body: bytes) -> dict[str, float]:
    """Read allTickers; a symbol that did not trade has null."""
    return {row["symbol"]: float(row["volValue"] or 0) for row in data_in(body)["ticker"]}


def _history_of(path: str, weight: float) -> Callable[[HistoryQuery], HttpRequest]:
    def request(query: HistoryQuery) -> HttpRequest:
        return HttpRequest(path, {"symbol": query.symbol}, weight=weight)

    return request


def _venue(market_type: str, variant: str, **facts: Any) -> Venue:
    spot = market_type == SPOT
    return Venue(
        exchange="kucoin", market_type=market_type, variant=variant, headers={}, stale_after_s=60,
        rest_url="https://api.kucoin.com" if spot else "https://api-futures.kucoin.com",
        heartbeat=Heartbeat(interval_s=18, text=ping), id_kind=IdKind.MONOTONIC, timestamp_unit_ns=1,
        quantity_unit=QuantityUnit.BASE if spot else QuantityUnit.CONTRACTS,
        history=HistoryDepth(rows_per_request=100, pages=False, reach_s=0), parse=parse, read_control=read_control,
        instruments_requests=[HttpRequest("/api/v2/symbols", weight=4) if spot else
                              HttpRequest("/api/v1/contracts/active", weight=3)],
        volumes=Volumes(HttpRequest("/api/v1/market/allTickers", weight=15), parse_volumes) if spot else None,
        parse_instruments=parse_instruments, parse_history=parse_history,
        history_request=_history_of("/api/v1/market/histories", 3) if spot else _history_of("/api/v1/trade/history", 5),
        **facts,
    )


def _classic_venue(market_type: str, ws_url: str) -> Venue:
    return _venue(
        market_type, "", ws_url=ws_url,
        session=Session(HttpRequest("/api/v1/bullet-public", method="POST", weight=10), _session_of(ws_url), welcome=True),
        subscribe=_classic_request(market_type, "subscribe"), unsubscribe=_classic_request(market_type, "unsubscribe"),
        limits=Limits(symbols_per_connection=300, symbols_per_message=100, message_bytes=8000, connection_bytes=0,
                      messages_per_second=10, subscriptions_per_hour=0, connects_per_second=0.5, connects_per_5_minutes=150,
                      connection_age_s=23 * 3600, requests_per_minute=4000, request_window_s=30, shared_by_markets=True),
    )


def _tokenless_venue(market_type: str, ws_url: str) -> Venue:
    return _venue(
        market_type, "tokenless", ws_url=ws_url, session=Session(None, lambda _, address, __: address, welcome=True),
        subscribe=_tokenless_request(market_type, "SUBSCRIBE"), unsubscribe=_tokenless_request(market_type, "UNSUBSCRIBE"),
        limits=Limits(symbols_per_connection=200, symbols_per_message=1, message_bytes=8000, connection_bytes=0,
                      messages_per_second=30, subscriptions_per_hour=0, connects_per_second=0.8, connects_per_5_minutes=250,
                      connection_age_s=23 * 3600, requests_per_minute=4000, request_window_s=30, shared_by_markets=True),
    )


VENUES = [
    _classic_venue(SPOT, "wss://ws-api-spot.kucoin.com/"),
    _classic_venue(FUTURES, "wss://ws-api-futures.kucoin.com/"),
    _tokenless_venue(SPOT, "wss://x-push-spot.kucoin.com"),
    _tokenless_venue(FUTURES, "wss://x-push-futures.kucoin.com"),
]


@hookimpl
def exchange_venues() -> list[Venue]:
    return VENUES
