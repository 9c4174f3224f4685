"""A good venue, its recorded frames, and copies of it with one fact changed."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pumpwatch_plugins.exchanges.binance import VENUES

from pumpwatch.plugin_kit.results import Check
from pumpwatch.plugin_kit.samples import HistoryBody, Samples, gather
from pumpwatch.venue import Venue

SPOT = VENUES[0]
START_MS = 1_732_186_800_000
TRADE = b'{"e":"trade","E":1732186800123,"s":"BTCUSDT","t":%d,"p":"97000.5","q":"0.01","T":1732186800120,"m":true,"M":true}'
FRAMES = [TRADE % number for number in range(1000, 1020)] + [b'{"result":null,"id":7}']
LIST = json.dumps({"symbols": [{"symbol": "BTCUSDT", "baseAsset": "BTC", "quoteAsset": "USDT", "status": "TRADING"}]}).encode()


def changed(**facts: Any) -> Venue:
    """Return the venue with other facts."""
    return dataclasses.replace(SPOT, **facts)


def limited(**limits: Any) -> Venue:
    """Return the venue with other limits."""
    return changed(limits=dataclasses.replace(SPOT.limits, **limits))


def samples_of(venue: Venue = SPOT, frames: Sequence[bytes] = FRAMES, instruments: Sequence[bytes] = (),
               histories: Mapping[str, bytes] | None = None) -> Samples:
    """Return samples of recorded frames and bodies."""
    bodies = [HistoryBody(symbol, body) for symbol, body in (histories or {}).items()]
    return gather(venue, frames, None, instruments, bodies)


def results(rows: Iterable[Check]) -> dict[str, tuple[str, str]]:
    """Return state and detail by check."""
    return {row.check: (row.state, row.detail) for row in rows}


def failures(rows: Iterable[Check]) -> dict[str, str]:
    """Return the detail of each check that fails."""
    return {row.check: row.detail for row in rows if row.state == "fail"}


def frames(step: int = 1, count: int = 40) -> list[bytes]:
    """Return frames of trades 10 ms apart, with ids `step` apart and alternating sides."""
    return [json.dumps({"e": "trade", "E": START_MS + 10 * number, "s": "BTCUSDT", "t": 1000 + step * number, "p": "97000.5",
                        "q": "0.01", "T": START_MS + 10 * number, "m": number % 2 == 0, "M": True},
                       separators=(",", ":")).encode() for number in range(count)]


def history(step: int = 1, count: int = 40, inverted: bool = False) -> bytes:
    """Return a history body of the same trades."""
    return json.dumps([{"id": 1000 + step * number, "price": "97000.5", "qty": "0.01", "quoteQty": "1",
                        "time": START_MS + 10 * number, "isBuyerMaker": (number % 2 == 0) != inverted, "isBestMatch": True}
                       for number in range(count)]).encode()
