"""Measure by how much a venue's price follows another's: the cross-correlation of their returns over 100 ms.

Prices are sampled every STEP_MS within REACH_S of the publication; a sample is the last price up to its moment. With x and y as
the returns of the reference and of another venue, the correlation at a lag of k steps is sum(x[i] y[i + k]) / sqrt(sum(x^2)
sum(y^2)); means are not subtracted. The result is the lag with the highest correlation; of equal ones, that nearest to 0. A
positive lag means that the venue follows the reference. The precision is half a step at best.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pumpwatch.clock import NS_PER_MS, NS_PER_S
from pumpwatch.model import Float64, Int64

STEP_MS = 100
REACH_S = 20
LAG_MAX_MS = 2000
MOVES_LEAST = 20  # steps in which the price changed; with fewer the correlation says nothing


def returns_of(timestamp: Int64, price: Float64, announced_at_ns: int) -> Float64:
    """Return the ln return of each step; 0 before the first trade."""
    steps = 2 * REACH_S * NS_PER_S // (STEP_MS * NS_PER_MS)
    edges = announced_at_ns - REACH_S * NS_PER_S + STEP_MS * NS_PER_MS * np.arange(steps + 1, dtype=np.int64)
    upto = np.searchsorted(timestamp, edges, side="right")
    if not len(price):
        return np.zeros(steps)
    logs = np.log(price)[np.maximum(upto - 1, 0)]
    return np.asarray(np.where(upto[:-1] > 0, np.diff(logs), 0.0), np.float64)


def lead_lags(returns: Sequence[Float64], reference: int) -> list[dict[str, Any] | None]:
    """Return lag_ms and correlation of each venue against the reference; None if one of the two moved too rarely."""
    x = returns[reference]
    return [None if number == reference else _lag(x, y) for number, y in enumerate(returns)]


def _lag(x: Float64, y: Float64) -> dict[str, Any] | None:
    if min(np.count_nonzero(x), np.count_nonzero(y)) < MOVES_LEAST:
        return None
    size = float(np.sqrt(np.sum(x * x) * np.sum(y * y)))
    most = LAG_MAX_MS // STEP_MS
    lags = np.array(sorted(range(-most, most + 1), key=abs))
    found = (np.correlate(y, x, "full") / size)[len(x) - 1 + lags].round(9)
    best = int(np.argmax(found))
    return {"lag_ms": int(lags[best]) * STEP_MS, "correlation": round(float(found[best]), 4)}
