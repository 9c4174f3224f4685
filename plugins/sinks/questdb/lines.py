"""Turn trades into lines of a client buffer: small batches row by row, large ones as pandas frames.

A frame costs 1.5 to 2 ms at any size, a row 2 us; from FRAME_FROM rows on, a frame is cheaper. So a collector with little to
send never loads pandas, which takes 45 MB (80 MB if pyarrow is installed).

With pyarrow, the frame's texts are Arrow arrays: they need no Python object per row, and the client does not hold the GIL while
it reads them. Without it, they are objects, and frames are small. CPU of the sink's thread at 20,000 rows: 0.8 us per row with
pyarrow, 1.7 without, 2.2 by `row`; on a faster machine hand-written lines took 0.3 to 0.5. Sending adds about 1 ms per request,
against 0.2 ms by the client's own sender (`sender` explains why it is not used).

Rejected alternatives: categoricals (0.1 us more than Arrow's texts); one reused frame (0.2 us less at 5,000 rows, but if pandas
ever copied it, old trades would be sent as new ones); a frame per symbol (180 us and more with 1,000 symbols); ids as integers
(the server rejects INTEGER for VARCHAR).

All ways give the same bytes for the same trades, in the order of the batch, so that the server's line numbers are rows.
"""

from __future__ import annotations

import logging
from importlib.util import find_spec
from itertools import repeat
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pumpwatch import NO_SEQUENCE, Catalogue, TradeBatch

if TYPE_CHECKING:
    import pandas as pd
    from questdb.ingress import Buffer

log = logging.getLogger(__name__)

FRAME_FROM = 1_200  # rows
FRAME_ROWS = 2_500  # of objects, for which the client holds the GIL: 1 ms; with 10,000 commits were three times as late
ARROW_ROWS = 50_000
SYMBOLS = ["exchange", "market_type", "symbol", "side"]
SIDES = ("buy", "sell")
Way = Literal["arrow", "objects", "rows"]
Objects = np.ndarray[Any, np.dtype[np.object_]]


class TradeLines:
    """Adds trades to buffers. Remembers the names of the catalogue's instruments."""

    def __init__(self, table: str) -> None:
        self._table = table
        self._symbols: dict[int, dict[str, str | None]] = {}  # instrument * 2 + side -> the values of SYMBOLS
        self._names: tuple[Objects, Objects, Objects] | None = None  # exchange, market_type, symbol by instrument
        self._texts: list[Any] = []  # the same and SIDES, as Arrow arrays; empty: not made yet
        self._sides = np.array(SIDES, object)
        self._way: Way | None = None  # None: not tried yet, because that loads pandas

    def add(self, buffer: Buffer, batch: TradeBatch, catalogue: Catalogue) -> None:
        """Add the batch in its order. Times must not be negative.

        Raises QuestDBError where the client rejects a row; the rows before it may be in the buffer.
        """
        if self._way is None and len(batch) >= FRAME_FROM:
            self._way = best_way()
        most = ARROW_ROWS if self._way == "arrow" else FRAME_ROWS
        for start in range(0, len(batch), most):
            part = batch.take(slice(start, start + most))
            if len(part) < FRAME_FROM or self._way == "rows":
                self._add_rows(buffer, part, catalogue)
            else:
                buffer.dataframe(self._frame(part, catalogue), table_name=self._table, symbols=SYMBOLS, at="timestamp")

    def _add_rows(self, buffer: Buffer, batch: TradeBatch, catalogue: Catalogue) -> None:
        from questdb import TimestampNanos

        sequences, flags = (_nullable(values, present) for _, values, present in _optional(batch))
        keys = (batch.instrument * np.int64(2) + batch.side).tolist()
        columns = zip(keys, batch.price.tolist(), batch.quantity.tolist(), batch.id_texts(),
                      repeat(None) if sequences is None else sequences.tolist(),
                      repeat(None) if flags is None else flags.tolist(),
                      batch.received_at.tolist(), batch.timestamp.tolist(), strict=False)
        for key, price, quantity, trade_id, sequence, flag, received_at, timestamp in columns:
            symbols = self._symbols.get(key) or self._symbols_of(key, catalogue)
            buffer.row(self._table, symbols=symbols, at=TimestampNanos(timestamp), columns={
                "price": price, "quantity": quantity, "trade_id": trade_id, "sequence_number": sequence, "flags": flag,
                "received_at": TimestampNanos(received_at)})

    def _symbols_of(self, key: int, catalogue: Catalogue) -> dict[str, str | None]:
        (names,) = catalogue.names([key // 2])
        self._symbols[key] = dict(zip(SYMBOLS, (*names, SIDES[key % 2]), strict=True))
        return self._symbols[key]

    def _frame(self, batch: TradeBatch, catalogue: Catalogue) -> pd.DataFrame:
        import pandas as pd

        columns = self._arrow_columns(batch, catalogue) if self._way == "arrow" else self._object_columns(batch, catalogue)
        columns["received_at"] = batch.received_at.view("M8[ns]")
        columns["timestamp"] = batch.timestamp.view("M8[ns]")
        frame = pd.DataFrame(columns, copy=False)
        frame.columns = pd.Index(list(columns), dtype=object)  # the client asks for each name: text of Arrow's is slower
        return frame

    def _arrow_columns(self, batch: TradeBatch, catalogue: Catalogue) -> dict[str, Any]:
        import pyarrow as pa
        from pandas.arrays import ArrowExtensionArray, IntegerArray

        names = self._names_of(catalogue)
        if not self._texts:
            pa.set_memory_pool(pa.system_memory_pool())  # Arrow's own keeps 17 MB
            self._texts = [pa.array(texts.tolist(), pa.string()) for texts in (*names, self._sides)]
        instrument = pa.array(batch.instrument)
        rows = (instrument, instrument, instrument, pa.array(batch.side))
        columns: dict[str, Any] = {name: ArrowExtensionArray(texts.take(row))
                                   for name, texts, row in zip(SYMBOLS, self._texts, rows, strict=True)}
        ids = pa.array(batch.trade_id).cast(pa.string()) if batch.text_id is None else pa.array(batch.id_texts(), pa.string())
        columns |= {"price": batch.price, "quantity": batch.quantity, "trade_id": ArrowExtensionArray(ids)}
        for name, values, present in _optional(batch):
            if present.any():
                columns[name] = IntegerArray(values, ~present)
        return columns

    def _object_columns(self, batch: TradeBatch, catalogue: Catalogue) -> dict[str, Any]:
        import pandas as pd

        def plain(column: Any) -> pd.Series[Any]:
            """Return a column of objects that pandas accepts without inspecting each of them."""
            return pd.Series(column, dtype=object, copy=False)

        exchanges, market_types, symbols = self._names_of(catalogue)
        columns: dict[str, Any] = {
            "exchange": plain(exchanges[batch.instrument]), "market_type": plain(market_types[batch.instrument]),
            "symbol": plain(symbols[batch.instrument]), "side": plain(self._sides[batch.side]),
            "price": batch.price, "quantity": batch.quantity, "trade_id": plain(batch.id_texts()),
        }
        for name, values, present in _optional(batch):
            if (column := _nullable(values, present)) is not None:
                columns[name] = plain(column) if column.dtype == object else column
        return columns

    def _names_of(self, catalogue: Catalogue) -> tuple[Objects, Objects, Objects]:
        if self._names is None or len(self._names[0]) < len(catalogue):
            exchanges, market_types, symbols = zip(*catalogue.names(range(len(catalogue))), strict=True)
            self._names = np.array(exchanges, object), np.array(market_types, object), np.array(symbols, object)
            self._texts = []
        return self._names


def best_way() -> Way:
    """Return how to make the lines of many trades; log why if pyarrow is installed but broken or too old for pandas.

    Neither pandas nor the client can then make frames, not even of objects.
    """
    if find_spec("pyarrow") is None:
        return "objects"
    try:
        import pyarrow as pa
        from pandas.arrays import ArrowExtensionArray

        pa.system_memory_pool()
        ArrowExtensionArray(pa.array(SIDES, pa.string()).take(pa.array(np.zeros(1, np.uint8))))
    except (ImportError, AttributeError, TypeError, ValueError, NotImplementedError, OSError) as error:
        log.warning("pyarrow cannot be used, and trades for QuestDB take more CPU reason=%s; reinstall the extra `parquet`, or"
                    " remove pyarrow", " ".join(str(error).split()))
        return "rows"
    return "arrow"


def _optional(batch: TradeBatch) -> list[tuple[str, np.ndarray[Any, Any], np.ndarray[Any, np.dtype[np.bool_]]]]:
    """Return the columns that a row may leave out, and where they have a value."""
    return [("sequence_number", batch.sequence_number, batch.sequence_number != NO_SEQUENCE),
            ("flags", batch.flags, batch.flags != 0)]


def _nullable(values: np.ndarray[Any, Any], present: np.ndarray[Any, np.dtype[np.bool_]]) -> np.ndarray[Any, Any] | None:
    """Return a column of integers with None for absent values; None if no row has a value."""
    if present.all():
        return values
    if not present.any():
        return None
    column = np.full(len(values), None, object)
    column[present] = values[present].astype(object)
    return column
