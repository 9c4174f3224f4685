"""Run cryptofeed against the simulated Binance. Executed by the interpreter of cryptofeed's own environment.

The one argument is a JSON file: `markets` (a list of {market, ws_url, rest_url, connections: the symbols of each}),
`ilp_port` (0: no sink) and `status` (a file rewritten twice a second). The certificate authority comes in by
SSL_CERT_FILE, as for any program.

What is changed against cryptofeed as installed, and why:
- addresses; symbols come from the simulation's exchangeInfo through `Symbols.set`;
- the channel is `@trade` instead of `@aggTrade`, so that both collectors store the same trades: the class reads the
  id from `t`, the rest of its `_trade` and `message_handler` is cryptofeed's own code, line by line;
- one feed a connection, so that there are as many sockets as on the other side. All feeds share one sink, and so one
  connection to QuestDB, which is the cheapest way cryptofeed offers.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
import time
import urllib.request
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

from cryptofeed import FeedHandler
from cryptofeed.backends.quest import TradeQuest
from cryptofeed.connection import WebsocketEndpoint
from cryptofeed.defines import BUY, SELL, TRADES
from cryptofeed.exchanges import Binance, BinanceFutures
from cryptofeed.symbols import Symbols
from cryptofeed.types import Trade
from yapic import json as yapic_json


class TradesOnly:
    """Cryptofeed's own handling of a combined-stream frame, for the event `trade` instead of `aggTrade`."""

    async def message_handler(self, msg: Any, conn: Any, timestamp: float) -> None:
        msg = yapic_json.loads(msg, parse_float=Decimal)
        if self.requires_authentication:
            return
        pair, _ = msg["stream"].split("@", 1)
        msg = msg["data"]
        pair = pair.upper()
        if "e" in msg and msg["e"] == "trade":
            await self._trade(msg, timestamp)

    async def _trade(self, msg: dict[str, Any], timestamp: float) -> None:
        trade = Trade(self.id,
                      self.exchange_symbol_to_std_symbol(msg["s"]),
                      SELL if msg["m"] else BUY,
                      Decimal(msg["q"]),
                      Decimal(msg["p"]),
                      self.timestamp_normalize(msg["T"]),
                      id=str(msg["t"]),
                      raw=msg)
        await self.callback(TRADES, trade, timestamp)


class SpotTrades(TradesOnly, Binance):
    websocket_channels: ClassVar[dict[str, str]] = {TRADES: "trade"}


class FuturesTrades(TradesOnly, BinanceFutures):
    websocket_channels: ClassVar[dict[str, str]] = {TRADES: "trade"}


async def discard(trade: Trade, receipt_timestamp: float) -> None:
    """Be the smallest callback there can be."""


def add_market(handler: FeedHandler, market: dict[str, Any], callback: Any) -> None:
    """Add one feed a connection."""
    spot = market["market"] == "spot"
    feed = SpotTrades if spot else FuturesTrades
    path = "/api/v3/exchangeInfo" if spot else "/fapi/v1/exchangeInfo"
    with urllib.request.urlopen(market["rest_url"] + path, context=ssl.create_default_context()) as answer:
        listed = json.load(answer)["symbols"]
    suffix = "" if spot else "-PERP"
    names = {f"{one['baseAsset']}-{one['quoteAsset']}{suffix}": one["symbol"]
             for one in listed if one["status"] == "TRADING" and one["quoteAsset"] == "USDT"
             and one.get("contractType", "PERPETUAL") == "PERPETUAL"}
    Symbols.set(feed.id, names, {})
    options = None if spot else {"compression": None}  # as the original endpoint has it
    feed.websocket_endpoints = [WebsocketEndpoint(market["ws_url"], options=options)]
    listed_as = {symbol: name for name, symbol in names.items()}
    for symbols in market["connections"]:
        mine = [listed_as[symbol] for symbol in symbols if symbol in listed_as]  # what is halted is not listed here
        handler.add_feed(feed(symbols=mine, channels=[TRADES], callbacks={TRADES: callback}, config=handler.config))


async def report(handler: FeedHandler, sink: TradeQuest | None, path: Path) -> None:
    """Write what has been received and what waits; cryptofeed counts the messages of each connection by itself."""
    while True:
        connections = [one.conn for feed in handler.feeds for one in feed.connection_handlers]
        waiting = unsent = 0
        if sink is not None and getattr(sink, "started", False):
            waiting = sink.queue.qsize()
            unsent = sink.conn.transport.get_write_buffer_size() if sink.conn else 0
        figures = {
            "at": time.monotonic(),
            "received": sum(one.received for one in connections),
            "connections": sum(1 for one in connections if one.is_open),
            "waiting": waiting,
            "unsent_bytes": unsent,
        }
        part = path.with_suffix(".part")
        part.write_text(json.dumps(figures))
        part.replace(path)
        await asyncio.sleep(0.5)


def main() -> None:
    wanted = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    handler = FeedHandler()  # the defaults: uvloop, warnings to the log
    sink = TradeQuest(host="127.0.0.1", port=wanted["ilp_port"]) if wanted["ilp_port"] else None
    for market in wanted["markets"]:
        add_market(handler, market, sink or discard)
    loop = asyncio.new_event_loop()  # current uvloop makes none by itself, and cryptofeed asks for one
    asyncio.set_event_loop(loop)
    reporting = loop.create_task(report(handler, sink, Path(wanted["status"])))
    handler.run()
    reporting.cancel()


if __name__ == "__main__":
    main()
