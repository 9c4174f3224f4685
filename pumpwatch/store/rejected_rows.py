"""Write a batch to a sink that may reject rows: store every acceptable row, and find the rejected ones."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from pumpwatch.catalogue import Catalogue
from pumpwatch.errors import ServiceUnavailable
from pumpwatch.hookspecs import WriteResult
from pumpwatch.model import TradeBatch
from pumpwatch.records import Quarantined
from pumpwatch.store.trade_rows import trade_records

NAMED_ONE_BY_ONE = 8  # up to this number, rejected rows are left out one at a time; beyond it, parts are halved
PROBES = 16  # rows that are tried alone before a sink that has stored nothing counts as broken


def store_all(write: Callable[[TradeBatch], WriteResult], batch: TradeBatch) -> list[tuple[int, str]]:
    """Write the batch, in parts if the sink rejects it; return the rejected rows with their reasons.

    Raises ServiceUnavailable if the sink rejects every row, because then the sink is at fault. A sink that names the rejected
    row costs one more write per such row; any other sink costs two writes per halving.
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
            refused[int(rows[0])] = "rejected without a reason"
        elif named and len(refused) <= NAMED_ONE_BY_ONE:
            parts.append(rest)
        else:
            parts.extend(half for half in np.array_split(rest, 2) if len(half))
        if not stored and not probed and len(refused) >= NAMED_ONE_BY_ONE:
            probed = True
            stored += _probe(write, batch, refused)
    if refused and not stored:
        raise ServiceUnavailable(f"it rejects every trade: {next(iter(refused.values()))}")
    return sorted(refused.items())


def quarantined(sink: str, batch: TradeBatch, refused: Sequence[tuple[int, str]], catalogue: Catalogue,
                now_ns: int) -> list[Quarantined]:
    """Return a quarantine row for each rejected (row in the batch, reason) of a sink."""
    rows = trade_records(batch.take(np.array([row for row, _ in refused])), catalogue)
    return [Quarantined(now_ns, row["exchange"], row["market_type"], f"sink {sink}: {reason}", msgspec.json.encode(row))
            for (_, reason), row in zip(refused, rows, strict=True)]


def _probe(write: Callable[[TradeBatch], WriteResult], batch: TradeBatch, refused: dict[int, str]) -> int:
    """Write a few random rows, each alone; return 1 once a row is stored. Raises ServiceUnavailable if all are rejected."""
    others = [row for row in range(len(batch)) if row not in refused]
    for row in random.sample(others, min(PROBES, len(others))):
        if write(batch.take(np.array([row]))).accepted:
            return 1
    raise ServiceUnavailable(f"it rejects every trade: {next(iter(refused.values()))}")
