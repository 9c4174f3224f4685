"""What to do when a sink refuses a batch: store all that can be stored, and find the rows that cannot."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable

import numpy as np

from pumpwatch.errors import ServiceUnavailable
from pumpwatch.hookspecs import WriteResult
from pumpwatch.model import TradeBatch

NAMED_ONE_BY_ONE = 8  # refused rows that are left out one at a time; where there are more, parts are halved
PROBES = 16  # rows tried alone before a sink that has stored nothing is taken for broken


def store_all(write: Callable[[TradeBatch], WriteResult], batch: TradeBatch) -> list[tuple[int, str]]:
    """Write the batch, in parts where it is refused; return the rows (with reasons) that are refused by themselves.

    Raises ServiceUnavailable where every row is refused: then the sink is at fault, and no row is to blame. A sink that
    names the row costs one write more a row; one that does not costs two a halving.
    """
    refused: dict[int, str] = {}
    stored, probed = 0, False
    parts = deque([np.arange(len(batch))])
    while parts:
        rows = parts.popleft()
        result = write(batch if len(rows) == len(batch) else batch.take(rows))
        stored += result.accepted
        named = {int(rows[row]): reason for row, reason in result.refused}
        refused |= named
        rest = rows[~np.isin(rows, list(named))] if named else rows
        if result.accepted >= len(rest):
            continue
        if len(rows) == 1:
            refused[int(rows[0])] = "refused without a reason"
        elif named and len(refused) <= NAMED_ONE_BY_ONE:
            parts.append(rest)
        else:
            parts.extend(half for half in np.array_split(rest, 2) if len(half))
        if not stored and not probed and len(refused) >= NAMED_ONE_BY_ONE:
            probed = True
            stored += _probe(write, batch, refused)
    if refused and not stored:
        raise ServiceUnavailable(f"it refuses every trade: {next(iter(refused.values()))}")
    return sorted(refused.items())


def _probe(write: Callable[[TradeBatch], WriteResult], batch: TradeBatch, refused: dict[int, str]) -> int:
    """Write a few rows alone, drawn from all of the batch; return 1 at the first that is stored, else raise."""
    others = [row for row in range(len(batch)) if row not in refused]
    for row in random.sample(others, min(PROBES, len(others))):
        if write(batch.take(np.array([row]))).accepted:
            return 1
    raise ServiceUnavailable(f"it refuses every trade: {next(iter(refused.values()))}")
