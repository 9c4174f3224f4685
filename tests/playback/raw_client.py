"""A WebSocket client of every venue, with nothing of the collector but its parsers."""

from __future__ import annotations

import json
import ssl
import threading
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote_plus

import websocket

from pumpwatch.config import Config
from pumpwatch.pipeline.decode import Decoder
from pumpwatch.plugins import load_plugins

TIMEOUT_S = 40
LISTS = {
    "binance.spot": "/api/v3/exchangeInfo", "binance.futures": "/fapi/v1/exchangeInfo",
    "bybit.spot": "/v5/market/instruments-info?category=spot", "bybit.futures": "/v5/market/instruments-info?category=linear",
    "gate.spot": "/spot/currency_pairs", "gate.futures": "/futures/usdt/contracts",
    "kucoin.spot": "/api/v2/symbols", "kucoin.futures": "/api/v1/contracts/active",
    "okx.spot": "/api/v5/public/instruments?instType=SPOT", "okx.futures": "/api/v5/public/instruments?instType=SWAP",
    "phemex.spot": "/public/products", "phemex.futures": "/public/products",
}
SUBSCRIBE: Mapping[str, Callable[[str, bool], dict[str, Any]]] = {
    "binance": lambda symbol, spot: {"method": "SUBSCRIBE", "params": [f"{symbol.lower()}@trade"], "id": 1},
    "bybit": lambda symbol, spot: {"op": "subscribe", "args": [f"publicTrade.{symbol}"]},
    "gate": lambda symbol, spot: {"channel": "spot.trades" if spot else "futures.trades", "event": "subscribe",
                                  "payload": [symbol]},
    "kucoin": lambda symbol, spot: {"id": "1", "type": "subscribe", "response": True, "topic": (
        f"/market/match:{symbol}" if spot else f"/contractMarket/execution:{symbol}")},
    "okx": lambda symbol, spot: {"op": "subscribe", "args": [{"channel": "trades-all", "instId": symbol}]},
    "phemex": lambda symbol, spot: {"id": 1, "method": f"trade{'' if spot else '_p'}.subscribe", "params": [symbol]},
}
VENUES = {venue.name: venue for venue in load_plugins(Config()).venues}
HEADERS = {"X-Gate-Size-Decimal": "1"}


def fetch(addresses: dict[str, Any], venue: str, path: str, body: bytes | None = None) -> bytes:
    """Return the body of a REST answer."""
    tls = ssl.create_default_context(cafile=addresses["ca_file"])
    with urllib.request.urlopen(urllib.request.Request(addresses["venues"][venue]["rest_url"] + path, body), context=tls,
                                timeout=TIMEOUT_S) as answer:
        found: bytes = answer.read()
        return found


def read_all(addresses: dict[str, Any], symbols: Mapping[str, str]) -> dict[str, list[dict[str, Any]]]:
    """Return the trades that each venue sends of its symbol until it closes, as `pumpwatch decode` prints them."""
    found: dict[str, list[dict[str, Any]]] = {}
    readers = [threading.Thread(target=_read, args=(addresses, venue, symbol, found), daemon=True)
               for venue, symbol in symbols.items()]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join(TIMEOUT_S)
    return found


def _read(addresses: dict[str, Any], venue: str, symbol: str, found: dict[str, list[dict[str, Any]]]) -> None:
    exchange, _, market = venue.partition(".")
    decoder = Decoder(VENUES[venue], fetch(addresses, venue, LISTS[venue]))
    url = addresses["venues"][venue]["ws_url"]
    if exchange == "kucoin":
        token = json.loads(fetch(addresses, venue, "/api/v1/bullet-public", b"{}"))["data"]["token"]
        url += f"?token={quote_plus(token)}&connectId=1"
    connection = websocket.create_connection(url, header=HEADERS, sslopt={"ca_certs": addresses["ca_file"]}, timeout=TIMEOUT_S)
    connection.send(json.dumps(SUBSCRIBE[exchange](symbol, market == "spot")))
    trades: list[dict[str, Any]] = []
    while True:
        opcode, data = connection.recv_data()
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            break
        trades += decoder.frame(data)
    assert not decoder.refused, (venue, decoder.refused[:3])
    found[venue] = trades
    connection.shutdown()
