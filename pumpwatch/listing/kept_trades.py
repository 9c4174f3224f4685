"""Keep an archive's trades when a later pass replaces it.

An archive that joins the parts of several collectors may have trades that are not in the local store, and whose parts no longer
exist.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from pumpwatch.catalogue import Catalogue
from pumpwatch.errors import StorageError
from pumpwatch.listing.archived_trades import TradeColumns, read_trades, trade_files
from pumpwatch.model import NO_SEQUENCE, SIDES, Instrument, TradeBatch
from pumpwatch.store.query import merged


def kept_trades(archive: Path, catalogue: Catalogue) -> TradeBatch:
    """Return the trades of an archive's raw files; unreadable files are skipped. Blocks.

    Missing instruments are added to the catalogue.
    """
    found: list[TradeBatch] = []
    for path in trade_files(archive):
        try:
            raw = read_trades(path)
            ids = {row.symbol: catalogue.add_if_new((raw.exchange, raw.market_type), Instrument(**msgspec.structs.asdict(row)))
                   for row in raw.symbols}
            found.append(_batch(raw.trades, ids))
        except (StorageError, ValueError, OverflowError):
            continue
    return TradeBatch.concat(found)


def _batch(trades: TradeColumns, ids: dict[str, int]) -> TradeBatch:
    numbers = [text.isdecimal() and len(text) < 19 and (text == "0" or text[0] != "0") for text in trades.trade_id]
    text_id = None if all(numbers) else np.array(
        [b"" if number else text.encode() for text, number in zip(trades.trade_id, numbers, strict=True)])
    columns: list[Any] = [
        np.array(trades.timestamp, np.int64), np.array([ids[symbol] for symbol in trades.symbol], np.int32),
        np.array(trades.price, np.float64), np.array(trades.quantity, np.float64),
        np.array([SIDES.index(side) for side in trades.side], np.uint8),
        np.array([int(text) if number else 0 for text, number in zip(trades.trade_id, numbers, strict=True)], np.int64),
        np.array([NO_SEQUENCE if number is None else number for number in trades.sequence_number], np.int64),
        np.array(trades.received_at, np.int64), np.array(trades.flags, np.uint8), text_id]
    return TradeBatch(*columns)


def with_archived(archive: Path, batch: TradeBatch, catalogue: Catalogue) -> TradeBatch:
    """Return a batch together with an archive's trades, without duplicates: the copy received first is kept. Blocks."""
    return first_received([batch, kept_trades(archive, catalogue)])


def first_received(batches: list[TradeBatch]) -> TradeBatch:
    """Return the trades of several batches by time, without duplicates: the copy received first is kept."""
    batch = TradeBatch.concat([batch for batch in batches if len(batch)])
    return merged([batch.take(np.argsort(batch.received_at, kind="stable"))])
