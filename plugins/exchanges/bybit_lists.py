"""Bybit's lists, read: what trades, and how much of it.

Linear lists have more than 500 rows and are paged; the cursor comes percent-encoded. Instruments tell no volumes, tickers do
(docs v5 market/tickers). See bybit.py for the documents.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote

import msgspec

from pumpwatch import BadFrame, HttpRequest, Instrument, Volumes, split_multiplier

ALIVE = ("Trading", "1")  # spot had numbers in 2023
INSTRUMENTS, TICKERS = "/v5/market/instruments-info", "/v5/market/tickers"


def result_in(body: bytes) -> dict[str, Any]:
    """Return the result inside an answer; some recordings hold the result alone."""
    answer: dict[str, Any] = msgspec.json.decode(body)
    if answer.get("retCode"):
        raise BadFrame(f"retCode {answer['retCode']}: {answer.get('retMsg')}")
    return answer.get("result", answer)  # type: ignore[no-any-return]


def parse_instruments(bodies: Sequence[bytes]) -> list[Instrument]:
    """Read every page: what trades against USDT, spot or perpetual; dated and USDC contracts left out."""
    rows = [row for body in bodies for row in result_in(body)["list"]]
    return [
        Instrument(symbol=row["symbol"], base=row["baseCoin"], quote=row["quoteCoin"],
                   multiplier=split_multiplier(row["baseCoin"]))
        for row in rows
        if row["status"] in ALIVE and row["quoteCoin"] == "USDT" and row.get("settleCoin", "USDT") == "USDT"
        and row.get("contractType", "LinearPerpetual") == "LinearPerpetual"
    ]


def instruments_of(category: str, cursor: str = "") -> HttpRequest:
    """Return the request for a page of the list, the first where there is no cursor."""
    page = {"cursor": unquote(cursor)} if cursor else {}
    return HttpRequest(INSTRUMENTS, {"category": category, "limit": 1000, **page})


def next_linear(body: bytes) -> HttpRequest | None:
    """Return the page that follows, if there is one."""
    cursor = result_in(body).get("nextPageCursor")
    return instruments_of("linear", cursor) if cursor else None


def parse_volumes(body: bytes) -> dict[str, float]:
    """Read the tickers of a category."""
    return {row["symbol"]: float(row["turnover24h"] or 0) for row in result_in(body)["list"]}


def volumes_of(category: str) -> Volumes:
    """Return where a category's volumes are."""
    return Volumes(HttpRequest(TICKERS, {"category": category}), parse_volumes)
