"""Check that a gap names each trade that was sent and is not stored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pumpwatch.model import Gap
from pumpwatch.sim.ground_truth import Truth
from pumpwatch.sim.reconcile import TradeComparison

Sent = tuple[str, str, str, int, int]  # exchange, market_type, symbol, id, timestamp


def missing(truth: Truth, counted: TradeComparison) -> Iterator[Sent]:
    """Yield what was sent and is not stored."""
    for one in counted.lost:
        exchange, market_type = truth.venues[one["venue"]].split(".")
        yield (exchange, market_type, truth.symbols[one["venue"]][one["symbol"]], int(one["trade_id"]),
               int(one["timestamp"]))


def covered(one: Sent, gaps: Iterable[Gap]) -> bool:
    """Return whether a gap of its symbol or of its venue holds a trade, by id where the gap has ids, else by time."""
    exchange, market_type, symbol, trade_id, at_ns = one
    for gap in gaps:
        if (gap.exchange, gap.market_type) != (exchange, market_type) or not gap.touches(symbol):
            continue
        if gap.first_id is not None and gap.last_id is not None and gap.first_id <= trade_id <= gap.last_id:
            return True
        if gap.first_id is None and gap.from_ns <= at_ns < gap.to_ns:
            return True
    return False
