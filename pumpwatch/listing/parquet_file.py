"""Make trades.parquet: all trades of an archive as one table, if the extra `parquet` is installed.

The columns are those of `pumpwatch trades --parquet`: times are UTC timestamps in ns; sequence_number is null if the venue has
none. The same trades give the same bytes with the same version of pyarrow. pyarrow imports pandas, together 92 MB, so they are
imported only when an archive is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pumpwatch.catalogue import Catalogue
from pumpwatch.listing.archive_files import CHUNK
from pumpwatch.model import NO_SEQUENCE, SIDES, Int64, TradeBatch

NAME = "trades.parquet"
PIECE = 1_000_000  # bytes written at a time


def pyarrow_version() -> str:
    """Return the version of pyarrow; empty if it is not installed."""
    try:
        import pyarrow
    except ImportError:
        return ""
    return str(pyarrow.__version__)


def parquet_pieces(trades: TradeBatch, ids: Sequence[int], catalogue: Catalogue) -> Iterator[bytes]:
    """Yield the file in pieces. ids: the instruments of the trades. Raises ImportError if pyarrow is not installed."""
    import pyarrow
    from pyarrow import parquet

    sink = pyarrow.BufferOutputStream()
    parquet.write_table(_table(trades, ids, catalogue), sink, compression="zstd")
    content = memoryview(sink.getvalue())
    for start in range(0, len(content), PIECE):
        yield bytes(content[start:start + PIECE])


def _table(trades: TradeBatch, ids: Sequence[int], catalogue: Catalogue) -> Any:
    import pyarrow

    place = np.zeros(max(ids, default=0) + 1, np.int32)
    place[np.array(ids, np.int64)] = np.arange(len(ids), dtype=np.int32)
    where = place[trades.instrument]
    names = catalogue.names(ids)

    def named(values: Sequence[str], rows: NDArray[np.int32]) -> Any:
        # not dictionary-encoded: in pyarrow 26 such pages have a few bytes that differ each time
        return pyarrow.array(values, pyarrow.string()).take(pyarrow.array(rows))

    def moments(column: Int64) -> Any:
        return pyarrow.array(column).cast(pyarrow.timestamp("ns", tz="UTC"))

    texts = []
    for start in range(0, len(trades), CHUNK):
        texts.append(pyarrow.array(trades.take(slice(start, start + CHUNK)).id_texts(), pyarrow.string()))
    return pyarrow.table({
        "exchange": named([name[0] for name in names], where), "market_type": named([name[1] for name in names], where),
        "symbol": named([name[2] for name in names], where), "side": named(SIDES, trades.side.astype(np.int32)),
        "price": trades.price, "quantity": trades.quantity, "trade_id": pyarrow.chunked_array(texts, pyarrow.string()),
        "sequence_number": pyarrow.array(trades.sequence_number, mask=trades.sequence_number == NO_SEQUENCE),
        "timestamp": moments(trades.timestamp), "received_at": moments(trades.received_at),
        "flags": trades.flags.astype(np.int64),
    })
