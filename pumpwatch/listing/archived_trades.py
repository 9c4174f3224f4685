"""Read the trades of an archive back, so that a pass that knows fewer keeps them.

An archive that joins the parts of several collectors may hold trades that its own store lacks, and whose parts are gone by now.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from pumpwatch.catalogue import Catalogue
from pumpwatch.listing.books import SUFFIX
from pumpwatch.listing.manifest import SymbolRow
from pumpwatch.model import NO_SEQUENCE, SIDES, Instrument, TradeBatch
from pumpwatch.store.query import merged


class _Trades(msgspec.Struct):
    timestamp: list[int]
    symbol: list[str]
    side: list[str]
    price: list[float]
    quantity: list[float]
    trade_id: list[str]
    sequence_number: list[int | None]
    received_at: list[int]
    flags: list[int]


class _Raw(msgspec.Struct):
    exchange: str
    market_type: str
    symbols: list[SymbolRow]
    trades: _Trades


def archived_trades(archive: Path, catalogue: Catalogue) -> TradeBatch:
    """Return the trades of an archive's raw files, without those of a file that is missing or unreadable.

    Instruments that the catalogue lacks are added to it. Blocks.
    """
    found: list[TradeBatch] = []
    for path in sorted(archive.glob("raw/*/*.json")):
        if path.name.endswith(SUFFIX):
            continue
        try:
            raw = msgspec.json.decode(path.read_bytes(), type=_Raw)
            ids = {row.symbol: catalogue.add_if_new((raw.exchange, raw.market_type), Instrument(**msgspec.structs.asdict(row)))
                   for row in raw.symbols}
            found.append(_batch(raw.trades, ids))
        except (OSError, msgspec.DecodeError, KeyError, ValueError):
            continue
    return TradeBatch.concat(found)


def _batch(trades: _Trades, ids: dict[str, int]) -> TradeBatch:
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
    if len({len(column) for column in columns[:-1]}) > 1:
        raise ValueError("columns of different lengths")
    return TradeBatch(*columns)


def with_archived(archive: Path, batch: TradeBatch, catalogue: Catalogue) -> TradeBatch:
    """Return a batch with the trades of an archive added, each once: the copy that was received first. Blocks."""
    return first_received([batch, archived_trades(archive, catalogue)])


def first_received(batches: list[TradeBatch]) -> TradeBatch:
    """Return the trades of several batches by time; of equal ones the one that was received first."""
    batch = TradeBatch.concat([batch for batch in batches if len(batch)])
    return merged([batch.take(np.argsort(batch.received_at, kind="stable"))])
