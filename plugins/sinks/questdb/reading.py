"""Read trades back from QuestDB in pages of time, with statements of bounded length.

Each row has its exchange, market_type and symbol, which are matched here. A statement lists the symbols only if they are few, so
that the server skips all other rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from pumpwatch_plugins.sinks.questdb.http import Server, TradeRow
from pumpwatch_plugins.sinks.questdb.sql import text

from pumpwatch import NO_SEQUENCE, TradeBatch

Name = tuple[str, str, str]  # exchange, market_type, symbol
PAGE_ROWS = 20_000  # decoded in one go, on the hub
NAMED_CHARS = 2_000  # of symbols in a statement; in a URL each character may take twelve, and 32 KB is the limit
POWERS = 10 ** np.arange(1, 19, dtype=np.int64)
NUMBER = re.compile(r"0|-?[1-9][0-9]{0,17}")  # an id that a round trip through int64 does not change


def read(server: Server, table: str, ids: Mapping[Name, int], start_ns: int, end_ns: int) -> TradeBatch:
    """Return the visible trades of these names in [start_ns, end_ns); `ids` gives each name its instrument id."""
    symbols = ", ".join(sorted({text(symbol) for _, _, symbol in ids}))
    where = f" AND symbol IN ({symbols})" if len(symbols) <= NAMED_CHARS else ""
    return TradeBatch.concat([_batch(rows, ids) for rows in _pages(server, table, where, start_ns, end_ns)])


def _pages(server: Server, table: str, where: str, start_ns: int, end_ns: int) -> Iterator[list[TradeRow]]:
    """Yield rows in order of timestamp. A page ends between two timestamps, so that no timestamp is split."""
    limit = PAGE_ROWS
    while start_ns < end_ns:
        rows = server.trades(
            "SELECT exchange, market_type, symbol, timestamp::long, side = 'sell', price, quantity, trade_id, sequence_number,"
            f" received_at::long, flags FROM {table} WHERE timestamp >= {start_ns:d} AND timestamp < {end_ns:d}{where}"
            f" ORDER BY timestamp LIMIT {limit:d}")
        if len(rows) < limit:
            yield rows
            return
        last_ns = rows[-1][3]
        if last_ns == start_ns:
            limit *= 2
            continue
        yield [row for row in rows if row[3] < last_ns]
        start_ns, limit = last_ns, PAGE_ROWS


def _batch(rows: Sequence[TradeRow], ids: Mapping[Name, int]) -> TradeBatch:
    """Turn rows into a batch, column by column: the busiest coin has 20,000 rows in a window."""
    instruments = np.array([ids.get(row[:3], -1) for row in rows], np.int32)
    if len(rows) and instruments.min() < 0:  # another instrument
        rows = [row for row, number in zip(rows, instruments.tolist(), strict=True) if number >= 0]
        instruments = instruments[instruments >= 0]
    if not rows:
        return TradeBatch.empty()
    numbers, text_id = _ids([row[7] for row in rows])
    return TradeBatch(
        timestamp=np.array([row[3] for row in rows], np.int64), instrument=instruments,
        price=np.array([row[5] for row in rows], np.float64), quantity=np.array([row[6] for row in rows], np.float64),
        side=np.array([row[4] for row in rows], np.uint8), trade_id=numbers,
        sequence_number=_filled(NO_SEQUENCE, [row[8] for row in rows], np.int64),
        received_at=np.array([row[9] for row in rows], np.int64),
        flags=_filled(0, [row[10] for row in rows], np.uint8), text_id=text_id)


def _ids(texts: Sequence[str]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any] | None]:
    """Return ids as numbers, and as text if a number would change the text."""
    joined = "".join(texts)
    if joined.isascii() and joined.isdecimal() and max(map(len, texts)) < 19 and "" not in texts:
        numbers = np.array(list(map(int, texts)), np.int64)
        if len(joined) == int((np.searchsorted(POWERS, numbers, side="right") + 1).sum()):  # no leading zeros
            return numbers, None
    plain = [text if NUMBER.fullmatch(text) else "" for text in texts]
    odd = [b"" if number else text.encode() for number, text in zip(plain, texts, strict=True)]
    return np.array([int(text or 0) for text in plain], np.int64), np.array(odd) if any(odd) else None


def _filled(nothing: int, values: Sequence[int | None], dtype: type[np.integer[Any]]) -> np.ndarray[Any, Any]:
    if set(values) == {None}:
        return np.full(len(values), nothing, dtype)
    return np.array([nothing if value is None else value for value in values], dtype)
