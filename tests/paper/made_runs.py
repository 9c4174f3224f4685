"""Runs as `paper run` leaves them, made up: how much each listing gave by delay, and an archive with prices for one of them."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

from pumpwatch.clock import NS_PER_MS, NS_PER_S
from pumpwatch.paper.kept import write_views
from pumpwatch.paper.results import (
    ArchiveResult,
    FillRow,
    Latency,
    ListingOutcome,
    RunResult,
    write_result,
)

AT = 1_795_000_000 * NS_PER_S
VENUE, SYMBOL = "binance.spot", "SOMIUSDT"


def outcome(delay_ms: int, percent: float | None) -> ListingOutcome:
    """Return the outcome of an entry of 1,000 USDT that gave so many percent; None: without an entry."""
    if percent is None:
        return ListingOutcome(delay_ms, None, None, None, None, None, "none", Decimal(0), Decimal(0), Decimal(0), Decimal(0))
    bought, sold, pnl = AT + delay_ms * NS_PER_MS, AT + 8 * NS_PER_S, Decimal(str(percent)) * 10
    fills = tuple(FillRow(at, VENUE, SYMBOL, side, price, Decimal(500), Decimal(1), "taker", f"{side}-{delay_ms}")
                  for at, side, price in ((bought, "buy", Decimal(2)), (sold, "sell", 2 + pnl / 500)))
    equity = tuple((bought + step * (sold - bought) // 100, Decimal(1000) + (pnl * step / 100).quantize(Decimal("0.01")))
                   for step in range(101))
    return ListingOutcome(delay_ms, bought, Decimal(2), Decimal("3.5"), sold, 2 + pnl / 500, "time", Decimal(2), pnl, pnl / 10,
                   Decimal("1.25"), fills=fills, equity=equity)


def listing(coin: str, percents: Sequence[float | None], archive: str = "", left_out: str | None = None) -> ArchiveResult:
    """Return a listing's outcomes with the delays 100, 300, 1,000 ms and so on, one for each of `percents`."""
    delays = (100, 300, 1000, 3000)
    outcomes = () if left_out else tuple(outcome(delay_ms, percent) for delay_ms, percent in zip(delays, percents, strict=False))
    return ArchiveResult(archive, coin, AT, outcomes, left_out)


def run_of(*archives: ArchiveResult, run_id: str = "a1b2c3", strategy: str = "buy_first") -> RunResult:
    """Return a run of these listings."""
    return RunResult(run_id=run_id, strategy=strategy, strategy_sha256="0" * 64, seed=7, size=Decimal(1000),
                     latency=Latency("fixed", 20.0), made_with="0", archives=archives)


def archive_with_prices(folder: Path) -> Path:
    """Write what a page reads of an archive: a price that jumps after the notice and falls back."""
    at = [AT - 10 * NS_PER_S + number * NS_PER_S // 20 for number in range(500)]
    since = [(moment - AT) / NS_PER_S for moment in at]
    price = [2 + (0.4 * (1 - math.exp(-4 * s)) * math.exp(-s / 9) if s > 0 else 0.0) for s in since]
    raw = {"announced_at_ns": AT, "symbols": [{"symbol": SYMBOL, "multiplier": 1}],
           "trades": {"timestamp": at, "symbol": [SYMBOL] * len(at), "price": price}}
    path = folder / "raw" / "binance" / "spot.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(raw))
    return folder


def keep(data: Path, run: RunResult) -> Path:
    """Write a run into a data folder as `paper run` does, and return its folder."""
    folder = write_result(data, run).parent
    write_views(folder, run)
    return folder
