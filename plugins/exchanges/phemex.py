"""Phemex spot and USDT perpetuals: every trade, from `trade.subscribe` and `trade_p.subscribe`.

Documents: phemex-docs _spot.md and _contract.md (2026-01-07), phemex-api-docs (2024-06-17); limits and snapshots as
probed by others in 2026-09, recorded sessions of 2021-07 and 2025-12. Checked 2026-11-21.

Symbols: case matters and is kept. Spot has a prefix: `sSOMIUSDT`; but `sOLUSDT` is spot OL, and no SOL. Perpetuals of cheap
coins count thousands: `u1000PEPEUSDT`, base "1000 PEPE". Coin and quote come from the product row, never from the symbol.
Ids: none. `sequence` is shared by all symbols: it orders, and skips. A trade is known by time, side, price and quantity
(as numbers, however they are spelt), and its number among equals. A live frame with the sequence and rows of an earlier one is
that one sent again; no recorded frame shares its sequence with another of its symbol. Times: ns. Side: the taker's. Rows come
newest first.
Units: spot prices and quantities are integers, scaled by 10^valueScale of the quote and of the base (`currencies`, all 8 so
far); perpetuals have decimal texts, in base units. Coin-margined contracts (`BTCUSD`), which are not collected, have
integer prices of scale 4; their frames are read all the same.
Quirks: every subscription is answered with up to 1,000 past trades, before or after its acknowledgement. One symbol a
request. `unsubscribe` drops all symbols, and whether it can drop one is not known: a delisted symbol is left to fall
silent, and its place on the connection is free after the next renewal. Without a ping the server closes after 31 s, data
or no data.
Limits: 20 requests a second and connection. The documents allow 20 symbols a connection, their later revision 100; 101 were
counted before 6015 came: 100 is kept, and 6015 puts a symbol on another connection. They allow 5 connections a client,
and more were open without a word. Both markets share one address and with it 200 connects and 5,000 requests in 5 minutes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from pumpwatch_plugins.exchanges.phemex_lists import (
    FUTURES_VOLUMES,
    SPOT_VOLUMES,
    futures_instruments,
    spot_instruments,
    unlisted_spot,
)
from pumpwatch_plugins.exchanges.phemex_trades import parse_futures, parse_futures_history, parse_spot, parse_spot_history

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
    Limits,
    QuantityUnit,
    Venue,
    hookimpl,
)

NO_ROOM = 6015
PING = '{"id":%d,"method":"server.ping","params":[]}'
OTHER_DATA = ("book", "orderbook_p", "kline", "kline_p", "tick", "tick_p", "market24h", "market24h_p", "spot_market24h",
              "index_market24h", "data", "fields")


def _subscribe_to(method: str) -> Callable[[Sequence[str], int], str]:
    def frame(symbols: Sequence[str], request_id: int) -> str:
        return msgspec.json.encode({"id": request_id, "method": method, "params": list(symbols)}).decode()

    return frame


def unsubscribe(symbols: Sequence[str], request_id: int) -> str:
    """Ask for nothing, and be answered: `unsubscribe` would drop every other symbol as well."""
    return PING % request_id


def read_control(frame: bytes) -> Control | None:
    """Read a frame that is no trade: acknowledgement, refusal, pong, or another channel's data."""
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
        if result == "pong":  # to a heartbeat, or to what stands for an unsubscription
            return Control(ControlKind.ACK if request_id else ControlKind.PONG, request_id)
        return Control(ControlKind.ACK, request_id) if isinstance(result, dict) else None
    known = [key for key in OTHER_DATA if isinstance(message.get(key), (dict, list))]
    return Control(ControlKind.OTHER, reason=known[0]) if known else None


def _history_at(path: str) -> Callable[[HistoryQuery], HttpRequest]:
    """The newest trades, whatever is asked: no paging."""
    return lambda query: HttpRequest(path, {"symbol": query.symbol})


def _venue(market_type: str, channel: str, history_path: str, **facts: Any) -> Venue:
    return Venue(
        exchange="phemex", market_type=market_type, ws_url="wss://ws.phemex.com", rest_url="https://api.phemex.com", headers={},
        limits=Limits(symbols_per_connection=100, symbols_per_message=1, message_bytes=4096, connection_bytes=0,
                      messages_per_second=20, subscriptions_per_hour=0, connects_per_second=4, connects_per_5_minutes=200,
                      connection_age_s=24 * 3600, requests_per_minute=1000, request_window_s=300, shared_by_markets=True),
        heartbeat=Heartbeat(interval_s=5, text=lambda now_ns: PING % 0), stale_after_s=20, id_kind=IdKind.NONE,
        timestamp_unit_ns=1, newest_first=True, history=HistoryDepth(rows_per_request=1000, pages=False, reach_s=0),
        subscribe=_subscribe_to(f"{channel}.subscribe"), unsubscribe=unsubscribe, drops=False, read_control=read_control,
        instruments_requests=[HttpRequest("/public/products")], history_request=_history_at(history_path), **facts,
    )


VENUES = [
    _venue(SPOT, "trade", "/md/trade", quantity_unit=QuantityUnit.CONTRACTS, parse=parse_spot, unlisted=unlisted_spot,
           volumes=SPOT_VOLUMES, parse_instruments=spot_instruments, parse_history=parse_spot_history),
    _venue(FUTURES, "trade_p", "/md/v2/trade", quantity_unit=QuantityUnit.BASE, parse=parse_futures,
           volumes=FUTURES_VOLUMES, parse_instruments=futures_instruments, parse_history=parse_futures_history),
]


@hookimpl
def exchange_venues() -> list[Venue]:
    return VENUES
