"""QuestDB as a sink: ILP over HTTP in, SQL over HTTP out.

Documents: questdb.com/docs (ILP, DDL, REST), the `questdb` client 6.0.0; tried on server 9.3.4, checked 2026-11-21.
An acknowledged flush is in the server's WAL and becomes visible a little later; it survives a killed server, not a lost
disk. Writing a batch again changes nothing: DEDUP UPSERT over (timestamp, exchange, market_type, symbol, trade_id).
One row of a wrong type refuses its whole flush, naming the line; nothing of that flush is stored. A suspended table
goes on acknowledging and shows nothing: `trouble` asks for it. The client refuses buffers over 100 MB.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from pumpwatch_plugins.sinks.questdb_sql import DDL_TIMEOUT_S, UNREACHABLE, Server, TradeRow, candle_views, tables, text
from questdb import QuestDBError, QuestDBErrorCode, Sender

from pumpwatch import (
    NO_SEQUENCE,
    Catalogue,
    Listing,
    ServiceUnavailable,
    SinkPlugin,
    TradeBatch,
    WriteResult,
    hookimpl,
)

FLUSH_ROWS = 100_000  # 150 bytes a row, 100 MB a buffer
FRAME_ROWS = 10_000  # the client holds the GIL while it reads a frame: 4 ms
MIN_BYTES_PER_S = 2 << 20  # added to the timeout by size; the client's own 100 KiB/s waits minutes for a hung server
SYMBOLS = ["exchange", "market_type", "symbol", "side"]
SIDES = np.array(["buy", "sell"], object)
ROW_ERRORS = {QuestDBErrorCode.BadDataFrame, QuestDBErrorCode.InvalidTimestamp, QuestDBErrorCode.InvalidUtf8,
              QuestDBErrorCode.InvalidName}  # the client will not send such a row, and does not say which
NUMBER = re.compile(r"0|-?[1-9][0-9]{0,17}")  # an id that an int64 gives back as it was


class QuestDBOptions(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """`sinks.questdb` of the config."""

    addr: str = "127.0.0.1:9000"
    user: str = ""
    password: str = ""
    tls: bool = False
    ca_file: str = ""
    table_prefix: str = ""  # before trades, exchange_health, listing_events, candles_1m, candles_5m
    ttl_days: int = 30  # 0: for ever
    candles: bool = True
    request_timeout_ms: int = 3000

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_]*", self.table_prefix):
            raise ValueError("table_prefix may hold letters, digits and _ only")
        if self.ttl_days < 0 or self.request_timeout_ms <= 0:
            raise ValueError("ttl_days must be >= 0 and request_timeout_ms > 0")


class QuestDBSink:
    """One server. `open`, `write`, `close` in the sink's thread; the rest in greenlets, by cooperative HTTP."""

    def __init__(self, options: QuestDBOptions) -> None:
        self._options = options
        self._server = Server(options.addr, options.user, options.password, options.tls, options.ca_file,
                              options.request_timeout_ms / 1000)
        self._tables = tables(options.table_prefix, options.ttl_days)
        self._trades, self._health, self._listings = (table.name for table in self._tables)
        self._sender: Sender | None = None
        self._names: tuple[np.ndarray[Any, Any], ...] = ()

    def open(self) -> None:
        """Make the tables and views that are missing and check those that are there."""
        self.close()
        self._server.exec("SELECT 1")  # a server that hangs is found out in request_timeout_ms
        for table in self._tables:
            self._server.ensure(table)
        for view in candle_views(self._options.table_prefix) if self._options.candles else ():
            self._server.exec(view, DDL_TIMEOUT_S)
        self._sender = Sender.from_conf(self._conf())
        self._sender.establish()  # type: ignore[no-untyped-call]

    def write(self, batch: TradeBatch, catalogue: Catalogue) -> WriteResult:
        """Send the batch in flushes of at most FLUSH_ROWS rows; return when the server has answered for each."""
        accepted, refused = 0, []
        for start in range(0, len(batch), FLUSH_ROWS):
            part = batch if len(batch) <= FLUSH_ROWS else batch.take(slice(start, start + FLUSH_ROWS))
            blamed = self._flush(part, catalogue)
            if blamed is None:
                accepted += len(part)
            elif blamed[0] >= 0:
                refused.append((start + blamed[0], blamed[1]))
        return WriteResult(accepted, refused)

    def trouble(self) -> str:
        """Name the suspended tables, if there are any."""
        ours = {table.name for table in self._tables}
        rows = self._server.exec("SELECT name, errorTag, errorMessage FROM wal_tables() WHERE suspended")
        return "; ".join(" ".join(f"table {name} is suspended {tag} {message}".split())
                         + f": ALTER TABLE {name} RESUME WAL" for name, tag, message in rows if name in ours)

    def read(self, names: Sequence[tuple[str, str, str]], start_ns: int, end_ns: int,
             catalogue: Catalogue) -> TradeBatch:
        """Return the trades of these names in [start_ns, end_ns) that are visible."""
        symbols = ", ".join(sorted({text(symbol) for _, _, symbol in names}))
        rows = self._server.trades(
            "SELECT timestamp::long, exchange, market_type, symbol, side, price, quantity, trade_id, sequence_number,"
            f" received_at::long, flags FROM {self._trades}"
            f" WHERE timestamp >= {start_ns:d} AND timestamp < {end_ns:d} AND symbol IN ({symbols})") if names else []
        return _batch(rows, {name: catalogue.ids_of(name[:2])[name[2]] for name in names})

    def write_listing(self, listing: Listing, archive: str, trades: int) -> None:
        """Insert one row of listing_events; the same listing again replaces it."""
        self._server.exec(
            f"INSERT INTO {self._listings} (timestamp, source, notice_id, symbol, title, detected_at, triggered_at,"
            f" needs_body, archive, trades) VALUES ({listing.announced_at_ns:d}, {text(listing.source)},"
            f" {text(listing.notice_id)}, {text(listing.symbol)}, {text(listing.title)}, {listing.detected_at_ns:d},"
            f" {listing.triggered_at_ns:d}, {str(listing.needs_body).lower()}, {text(archive)}, {trades:d})")

    def write_health(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert one minute of exchange_health; the same minute again replaces it."""
        minute = time.time_ns() // 60_000_000_000 * 60_000_000_000
        values = ", ".join(
            f"({minute:d}, {text(row['exchange'])}, {text(row['market_type'])}, {int(row['connections'])},"
            f" {int(row['trades'])}, {float(row['lag_ms'])}, {int(row['gaps'])})" for row in rows)
        if values:
            self._server.exec(f"INSERT INTO {self._health} (timestamp, exchange, market_type, connections, trades,"
                              f" lag_ms, gaps) VALUES {values}")

    def close(self) -> None:
        """Drop the connection; what was not flushed is the caller's still."""
        sender, self._sender = self._sender, None
        if sender is not None:
            sender.close(flush=False)

    def _flush(self, batch: TradeBatch, catalogue: Catalogue) -> tuple[int, str] | None:
        """Send one buffer. None: stored. (row, reason): nothing is stored, and this row is why (-1: not said which)."""
        if self._sender is None:
            raise ServiceUnavailable("the QuestDB sink is not open")
        buffer = self._sender.new_buffer()
        odd = batch.flags != 0  # the few with flags go last, in a frame that has the column
        order = np.argsort(odd, kind="stable") if odd.any() else None
        rows = batch if order is None else batch.take(order)
        plain = len(rows) - int(odd.sum())
        try:
            for start, end in [*_slices(0, plain), *_slices(plain, len(rows))]:
                frame = self._frame(rows.take(slice(start, end)), catalogue, start >= plain)
                buffer.dataframe(frame, table_name=self._trades, symbols=SYMBOLS, at="timestamp")
            self._sender.flush(buffer, clear=False)
        except QuestDBError as error:
            row, reason = self._refusal(error)
            return (int(order[row]) if order is not None and row >= 0 else row), reason
        return None

    def _refusal(self, error: QuestDBError) -> tuple[int, str]:
        message = str(error)
        if error.code in ROW_ERRORS:
            return -1, message
        if error.code is QuestDBErrorCode.ServerFlushError and '"line":' in message:
            answer = json.loads(message[message.index("{"):message.rindex("}") + 1], strict=False)
            return int(answer["line"]) - 1, " ".join(str(answer["message"]).split("\n")[1:])
        raise ServiceUnavailable(f"QuestDB at {self._options.addr}: {message}", UNREACHABLE) from error

    def _frame(self, batch: TradeBatch, catalogue: Catalogue, flagged: bool) -> pd.DataFrame:
        if not self._names or len(self._names[0]) < len(catalogue):
            venues, instruments = catalogue.venues[:], catalogue.instruments
            self._names = (np.array([exchange for exchange, _ in venues], object),
                           np.array([market_type for _, market_type in venues], object),
                           np.array([instruments[number].symbol for number in range(len(venues))], object))
        exchanges, markets, symbols = self._names
        columns: dict[str, Any] = {
            "exchange": _objects(exchanges[batch.instrument]), "market_type": _objects(markets[batch.instrument]),
            "symbol": _objects(symbols[batch.instrument]), "side": _objects(SIDES[batch.side]),
            "price": batch.price, "quantity": batch.quantity, "trade_id": _objects(batch.id_texts()),
            "received_at": batch.received_at.view("M8[ns]"), "timestamp": batch.timestamp.view("M8[ns]"),
        }
        if flagged:
            columns["flags"] = batch.flags.astype(np.int32)
        if (batch.sequence_number != NO_SEQUENCE).any():
            columns["sequence_number"] = batch.sequence_number
        return pd.DataFrame(columns, copy=False)

    def _conf(self) -> str:
        options = self._options
        login = f"username={_escape(options.user)};password={_escape(options.password)};" if options.user else ""
        roots = f"tls_roots={_escape(options.ca_file)};" if options.tls and options.ca_file else ""
        return (f"{'https' if options.tls else 'http'}::addr={options.addr};{login}{roots}auto_flush=off;"
                f"protocol_version=2;retry_timeout=0;request_timeout={options.request_timeout_ms};"
                f"request_min_throughput={MIN_BYTES_PER_S};")


def _slices(start: int, end: int) -> list[tuple[int, int]]:
    return [(one, min(one + FRAME_ROWS, end)) for one in range(start, end, FRAME_ROWS)]


def _objects(texts: Any) -> Any:
    """Return a column that pandas takes as it is: left to itself it looks at every text (0.06 us a row)."""
    return pd.Series(texts, dtype=object, copy=False)


def _batch(rows: list[TradeRow], ids: Mapping[tuple[str, str, str], int]) -> TradeBatch:
    found = [ids.get((row[1], row[2], row[3]), -1) for row in rows]
    if -1 in found:
        rows = [row for row, one in zip(rows, found, strict=True) if one >= 0]
        found = [one for one in found if one >= 0]
    if not rows:
        return TradeBatch.empty()
    timestamp, _, _, _, side, price, quantity, trade_id, sequence, received, flags = zip(*rows, strict=True)
    plain = [one if NUMBER.fullmatch(one) else "" for one in trade_id]
    odd = [b"" if number else one.encode() for number, one in zip(plain, trade_id, strict=True)]
    return TradeBatch(
        timestamp=np.array(timestamp, np.int64), instrument=np.array(found, np.int32),
        price=np.array(price, np.float64), quantity=np.array(quantity, np.float64),
        side=np.array([one == "sell" for one in side], np.uint8),
        trade_id=np.array([int(one or 0) for one in plain], np.int64),
        sequence_number=np.array([NO_SEQUENCE if one is None else one for one in sequence], np.int64),
        received_at=np.array(received, np.int64), flags=np.array([one or 0 for one in flags], np.uint8),
        text_id=np.array(odd) if any(odd) else None)


def _escape(value: str) -> str:
    return value.replace(";", ";;")


@hookimpl
def sinks() -> list[SinkPlugin]:
    """Return the one kind of sink this is."""
    return [SinkPlugin("questdb", QuestDBOptions, QuestDBSink)]
