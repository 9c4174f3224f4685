"""Read trades of replayed venues with ccxt.pro. Executed by the interpreter of the clients' own environment.

The argument is a JSON file: `addresses` as `pumpwatch replay --json` prints them, `coin`, and `counts`: how many trades to read
of each venue. Prints {venue: [[id, ms, side, price, amount, contract size], ...]}.

What is changed against ccxt as installed: configuration alone. `cafile`; the hosts in `urls`; `options.fetchMarkets.types`,
because a replay has an address for each market where the exchange has one for several; `has.fetchCurrencies`, because currencies
are not simulated; the path /tokenless of KuCoin, where the exchange has a host. Markets come from `load_markets` everywhere.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import ccxt.pro

LINEAR = ("binance", "bybit")  # that call perpetuals so
TIMEOUT_S = 60


def pointed(urls: Any, ws: str, rest: str) -> Any:
    """Return addresses with other hosts."""
    if isinstance(urls, dict):
        return {name: pointed(inner, ws, rest) for name, inner in urls.items()}
    parts = urlsplit(urls.replace("{hostname}", "host"))
    if parts.scheme == "wss":
        return ws if ws.endswith("/tokenless") else ws + parts.path
    return rest + parts.path


def client_of(addresses: dict[str, Any], venue: str) -> Any:
    """Return ccxt's client of one venue."""
    exchange, _, market = venue.partition(".")
    types = ["spot"] if market == "spot" else ["linear" if exchange in LINEAR else "swap"]
    client = getattr(ccxt.pro, exchange)({"cafile": addresses["ca_file"], "newUpdates": True, "has": {"fetchCurrencies": False},
                                          "options": {"fetchMarkets": {"types": types}}})
    at = {kind: urlsplit(addresses["venues"][venue][f"{kind}_url"]).netloc for kind in ("ws", "rest")}
    ws = f"wss://{at['ws']}" + ("/tokenless" if exchange == "kucoin" else "")
    client.urls["api"] = pointed(client.urls["api"], ws, f"https://{at['rest']}")
    return client


async def read(addresses: dict[str, Any], venue: str, coin: str, count: int) -> list[list[Any]]:
    """Return so many trades of a venue, or those that came before it closed."""
    client, size = client_of(addresses, venue), 1
    symbol = f"{coin}/USDT" if venue.endswith(".spot") else f"{coin}/USDT:USDT"
    try:
        await client.load_markets()
        size = client.market(symbol)["contractSize"] or 1
        while len(client.trades.get(symbol, ())) < count:  # all are kept there, also those that came between two calls
            await asyncio.wait_for(client.watch_trades(symbol), TIMEOUT_S)
    except ccxt.NetworkError as error:
        print(f"{venue}: {error}", file=sys.stderr)
    finally:
        await client.close()
    return [[trade["id"], trade["timestamp"], trade["side"], trade["price"], trade["amount"], size]
            for trade in client.trades.get(symbol, ())]


async def main() -> None:
    wanted = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    found = await asyncio.gather(*(read(wanted["addresses"], venue, wanted["coin"], count)
                                   for venue, count in wanted["counts"].items()))
    print(json.dumps(dict(zip(wanted["counts"], found, strict=True))))


asyncio.run(main())
