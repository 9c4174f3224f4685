"""Read frames with cryptofeed's own handlers, and with `orjson.loads` alone. Executed by cryptofeed's interpreter.

stdin: a JSON list of {venue, market_type, symbols: [[base, quote, symbol]], trades, plain, frames}; plain and frames are pairs
of lists: frames of one trade, frames of ten. The one argument is the number of rounds. stdout: venue -> µs a trade, the best of
the rounds.

Changed against cryptofeed as installed: symbols come from stdin through `Symbols.set`; Binance as in cryptofeed_runner.py;
KuCoin's token is not fetched. Its callback does nothing but count, so no queue and no sink is in the figures.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from types import SimpleNamespace
from typing import Any

import orjson
from cryptofeed.defines import TRADES
from cryptofeed.exchanges import OKX, Bybit, Gateio, GateioFutures, KuCoin, Phemex
from cryptofeed.symbols import Symbols
from cryptofeed_runner import FuturesTrades, SpotTrades

INSTANCE = {"data": {"token": "none", "instanceServers": [{"endpoint": "wss://localhost", "pingInterval": 18000}]}}


class KuCoinWithoutToken(KuCoin):
    http_sync = SimpleNamespace(write=lambda *args, **kwargs: INSTANCE)


FEEDS = {"binance.spot": SpotTrades, "binance.futures": FuturesTrades, "bybit.spot": Bybit, "bybit.futures": Bybit,
         "okx.spot": OKX, "okx.futures": OKX, "kucoin.spot": KuCoinWithoutToken, "gate.spot": Gateio,
         "gate.futures": GateioFutures, "phemex.spot": Phemex}


class Discard:
    """The smallest callback there can be, but for the count that shows that it was called."""

    def __init__(self) -> None:
        self.count = 0

    async def __call__(self, trade: Any, receipt_timestamp: float) -> None:
        self.count += 1


def feed_of(asked: dict[str, Any], discard: Discard) -> Any:
    """Return cryptofeed's feed of a venue with these symbols."""
    kind, spot = FEEDS[asked["venue"]], asked["market_type"] == "spot"
    names = {}
    for base, quote, symbol in asked["symbols"]:
        name = f"{base}-{quote}" if spot else f"{base}-{quote}-PERP"
        names[name] = f"{base}/{quote}" if asked["venue"] == "bybit.spot" else symbol  # as it spells them itself
        if kind is Phemex:
            Phemex.price_scale[name] = 10**8
    Symbols.set(kind.id, names, {})
    return kind(symbols=list(names)[:20], channels=[TRADES], callbacks={TRADES: discard})


async def best(asked: dict[str, Any], frames: list[str], rounds: int) -> float:
    """Return µs a trade through the feed's handler."""
    discard = Discard()
    feed = feed_of(asked, discard)
    connection = SimpleNamespace(address=f"wss://localhost/v5/public/{'spot' if asked['market_type'] == 'spot' else 'linear'}",
                                 uuid="bench")
    taken = []
    for _ in range(rounds):
        discard.count = 0
        began = time.thread_time_ns()
        for frame in frames:
            await feed.message_handler(frame, connection, 1.0)
        taken.append((time.thread_time_ns() - began) / 1000 / asked["trades"])
        if discard.count != asked["trades"]:
            raise SystemExit(f"{asked['venue']}: cryptofeed gave {discard.count} of {asked['trades']} trades")
    return min(taken)


def plain(asked: dict[str, Any], frames: list[str], rounds: int) -> float:
    """Return µs a trade for decoding the frames to dicts."""
    payloads, loads, taken = [frame.encode() for frame in frames], orjson.loads, []
    for _ in range(rounds):
        began = time.thread_time_ns()
        for payload in payloads:
            loads(payload)
        taken.append((time.thread_time_ns() - began) / 1000 / asked["trades"])
    return min(taken)


async def main() -> None:
    rounds = int(sys.argv[1])
    answer: dict[str, dict[str, float]] = {}
    for asked in json.load(sys.stdin):
        row = answer[asked["venue"]] = {}
        for number, what in enumerate(("single", "together")):
            if asked["plain"][number]:
                row[f"orjson_{what}_us"] = plain(asked, asked["plain"][number], rounds)
                if asked["venue"] in FEEDS:
                    row[f"cryptofeed_{what}_us"] = await best(asked, asked["frames"][number], rounds)
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    asyncio.run(main())
