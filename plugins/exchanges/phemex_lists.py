"""Phemex's lists, read: what trades, in which units, and how much of it. See phemex.py for documents and quirks.

The products tell no volumes; the 24 hours' tickers of all symbols do: of spot as an integer scaled as the quote is, of
perpetuals as decimal text (phemex-docs _spot.md and _contract.md, "Query 24 hours ticker for all symbols"; their scales
as others read them in 2026).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from pumpwatch import HttpRequest, Instrument, Volumes, split_multiplier

USDT_SCALE = 10**8


def _products(body: bytes, kind: str) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Return (what trades against USDT of this type, valueScale by currency)."""
    data = msgspec.json.decode(body)["data"]
    rows = [row for row in (*data["products"], *(data.get("perpProductsV2") or ()))
            if row["type"] == kind and row["status"] == "Listed" and row["quoteCurrency"] == "USDT"]
    return rows, {row["currency"]: row["valueScale"] for row in data["currencies"]}


def spot_instruments(bodies: Sequence[bytes]) -> list[Instrument]:
    """Read the spot products: a symbol without a known scale is an error, for its trades could not be read."""
    rows, scales = _products(bodies[0], "Spot")
    return [Instrument(symbol=row["symbol"], base=(base := row["baseCurrency"].replace(" ", "")), quote=row["quoteCurrency"],
                       multiplier=split_multiplier(base), price_divisor=float(10 ** scales[row["quoteCurrency"]]),
                       contract_size=float(f"1e-{scales[row['baseCurrency']]}")) for row in rows]


def futures_instruments(bodies: Sequence[bytes]) -> list[Instrument]:
    """Read the perpetuals that are quoted and settled in USDT: crypto, stocks and pre-market alike."""
    rows, _ = _products(bodies[0], "PerpetualV2")
    return [Instrument(symbol=row["symbol"], base=(base := row["baseCurrency"].replace(" ", "")), quote=row["quoteCurrency"],
                       multiplier=split_multiplier(base)) for row in rows if row["settleCurrency"] == "USDT"]


def unlisted_spot(symbol: str) -> Instrument | None:
    """Read a spot symbol in the scale that all of them have had so far; what has no `s` before it is no spot symbol."""
    return None if not symbol.startswith("s") else Instrument(symbol=symbol, base=symbol, quote="", price_divisor=1e8,
                                                                     contract_size=1e-8)


def spot_volumes(body: bytes) -> dict[str, float]:
    """Read the tickers of all spot symbols."""
    return {row["symbol"]: row["turnoverEv"] / USDT_SCALE for row in msgspec.json.decode(body)["result"]}


def futures_volumes(body: bytes) -> dict[str, float]:
    """Read the tickers of all perpetuals."""
    return {row["symbol"]: float(row["turnoverRv"] or 0) for row in msgspec.json.decode(body)["result"]}


SPOT_VOLUMES = Volumes(HttpRequest("/md/spot/ticker/24hr/all"), spot_volumes)
FUTURES_VOLUMES = Volumes(HttpRequest("/md/v2/ticker/24hr/all"), futures_volumes)
