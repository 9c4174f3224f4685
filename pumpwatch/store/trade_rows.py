"""The fields of a stored trade, for display, export and quarantine."""

from __future__ import annotations

from typing import Any

import numpy as np

from pumpwatch.catalogue import Catalogue
from pumpwatch.model import NO_SEQUENCE, SIDES, TradeBatch

TRADE_FIELDS = (
    "exchange", "market_type", "symbol", "side", "price", "quantity", "trade_id", "sequence_number", "timestamp",
    "received_at", "flags",
)


def trade_columns(batch: TradeBatch, catalogue: Catalogue) -> dict[str, list[Any]]:
    """Return one list for each of TRADE_FIELDS: ids as text, times in ns, a missing sequence_number as None."""
    names = dict(_names(batch, catalogue))
    rows = [names[number] for number in batch.instrument.tolist()]
    columns = (
        [row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows],
        [SIDES[side] for side in batch.side.tolist()],
        batch.price.tolist(), batch.quantity.tolist(), batch.id_texts(),
        [None if number == NO_SEQUENCE else number for number in batch.sequence_number.tolist()],
        batch.timestamp.tolist(), batch.received_at.tolist(), batch.flags.tolist(),
    )
    return dict(zip(TRADE_FIELDS, columns, strict=True))


def trade_records(batch: TradeBatch, catalogue: Catalogue) -> list[dict[str, Any]]:
    """Return one mapping of TRADE_FIELDS for each trade."""
    columns = trade_columns(batch, catalogue)
    return [dict(zip(TRADE_FIELDS, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _names(batch: TradeBatch, catalogue: Catalogue) -> list[tuple[int, tuple[str, str, str]]]:
    held = np.unique(batch.instrument)
    return list(zip(held.tolist(), catalogue.names(held), strict=True))
