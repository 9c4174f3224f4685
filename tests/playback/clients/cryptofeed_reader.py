"""Read trades of replayed venues with cryptofeed. Executed by the interpreter of the clients' own environment.

The argument and the result are those of ccxt_reader.py. The certificate authority comes by SSL_CERT_FILE and REQUESTS_CA_BUNDLE.

What is changed against cryptofeed as installed: addresses alone, in subclasses of its feeds. Symbols come from the venue's own
list. The list of Bybit and of OKX is asked for twice, because their feeds expect the lists of several markets.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cryptofeed import FeedHandler
from cryptofeed.connection import RestEndpoint, Routes, WebsocketEndpoint
from cryptofeed.defines import TRADES
from cryptofeed.exchanges import OKX, Bybit, Gateio, GateioFutures
from cryptofeed.symbols import Symbols

END_S = 60.0
FEEDS: dict[str, tuple[Any, str, list[str]]] = {
    "bybit.spot": (Bybit, "/v5/public/spot", ["/v5/market/instruments-info?category=spot"] * 2),
    "bybit.futures": (Bybit, "/v5/public/linear", ["/v5/market/instruments-info?category=linear"] * 2),
    "gate.spot": (Gateio, "/ws/v4/", ["/api/v4/spot/currency_pairs"]),
    "gate.futures": (GateioFutures, "/v4/ws/usdt", ["/api/v4/futures/usdt/contracts"]),
    "okx.spot": (OKX, "/ws/v5/public", ["/api/v5/public/instruments?instType=SPOT"] * 2),
    "okx.futures": (OKX, "/ws/v5/public", ["/api/v5/public/instruments?instType=SWAP"] * 2),
}


def main() -> None:
    wanted = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    handler = FeedHandler(config={"log": {"filename": f"{sys.argv[1]}.log", "level": "WARNING"}})
    found: dict[str, list[list[Any]]] = {venue: [] for venue in wanted["counts"]}

    def callback_of(venue: str) -> Any:
        async def keep(trade: Any, receipt_timestamp: float) -> None:
            found[venue].append([trade.id, round(trade.timestamp * 1000), trade.side, float(trade.price), float(trade.amount), 1])
            if all(len(found[name]) >= count for name, count in wanted["counts"].items()):
                loop.stop()
        return keep

    for venue in wanted["counts"]:
        feed, path, lists = FEEDS[venue]
        at = {kind: urlsplit(wanted["addresses"]["venues"][venue][f"{kind}_url"]).netloc for kind in ("ws", "rest")}
        replayed = type(feed.__name__, (feed,), {
            "websocket_endpoints": [WebsocketEndpoint(f"wss://{at['ws']}{path}")],
            "rest_endpoints": [RestEndpoint(f"https://{at['rest']}", routes=Routes(lists if len(lists) > 1 else lists[0]))]})
        Symbols.clear()  # two markets of an exchange would share what was read of the first
        symbol = f"{wanted['coin']}-USDT" + ("" if venue.endswith(".spot") else "-PERP")
        handler.add_feed(replayed(symbols=[symbol], channels=[TRADES], callbacks={TRADES: callback_of(venue)}))
    loop.call_later(END_S, loop.stop)
    handler.run(install_signal_handlers=False)
    print(json.dumps(found), flush=True)
    os._exit(0)  # its threads and reconnects would go on


main()
