"""QuestDB as a sink: ILP over HTTP in, SQL over HTTP out.

Documents: questdb.com/docs (ILP, DDL, REST); tried on server 9.3.4, checked 2026-11-21.
An acknowledged flush is in the server's WAL and becomes visible a little later; it survives a killed server, not a lost
disk. Writing a batch again changes nothing: DEDUP UPSERT over (timestamp, exchange, market_type, symbol, trade_id).
One row of a wrong type refuses its whole flush, naming the line; nothing of that flush is stored. A suspended table
goes on acknowledging and shows nothing: `trouble` asks for it. Lines are made here, not by the `questdb` client:
see questdb_ilp for the figures.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import requests
from pumpwatch_plugins.sinks.questdb_ilp import POWERS, Encoder
from pumpwatch_plugins.sinks.questdb_sql import DDL_TIMEOUT_S, Server, TradeRow, candle_views, tables, text

from pumpwatch import (
    NO_SEQUENCE,
    Catalogue,
    Listing,
    ServiceUnavailable,
    SinkPlugin,
    TradeBatch,
    WriteResult,
    hookimpl,
    shown_address,
)

FLUSH_ROWS = 100_000  # 17 MB
ADDRESS = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[^\s\[\]/:@?#]+):([0-9]{1,5})")  # [::1]:9000 too
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
        address = ADDRESS.fullmatch(self.addr)
        if not address or not 0 < int(address[1]) < 65_536:
            raise ValueError(f"addr must be HOST:PORT, such as 127.0.0.1:9000, not {shown_address(self.addr)}")
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
        self._encoder = Encoder(self._trades)
        self._session: requests.Session | None = None  # the sink's thread's own

    def open(self) -> None:
        """Make the tables and views that are missing and check those that are there."""
        self.close()
        self._server.exec("SELECT 1")  # a server that hangs is found out in request_timeout_ms
        for table in self._tables:
            self._server.ensure(table)
        for view in candle_views(self._options.table_prefix) if self._options.candles else ():
            self._server.exec(view, DDL_TIMEOUT_S)
        self._session = requests.Session()

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
        if not names:
            return TradeBatch.empty()
        which = " ".join(f"WHEN exchange = {text(exchange)} AND market_type = {text(market_type)} AND symbol = {text(symbol)}"
                         f" THEN {at}" for at, (exchange, market_type, symbol) in enumerate(names))
        symbols = ", ".join(sorted({text(symbol) for _, _, symbol in names}))
        rows = self._server.trades(
            f"SELECT CASE {which} ELSE -1 END, timestamp::long, side = 'sell', price, quantity, trade_id, sequence_number,"
            f" received_at::long, flags FROM {self._trades}"
            f" WHERE timestamp >= {start_ns:d} AND timestamp < {end_ns:d} AND symbol IN ({symbols})")
        return _batch(rows, np.array([catalogue.ids_of(name[:2])[name[2]] for name in names], np.int32))

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
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def _flush(self, batch: TradeBatch, catalogue: Catalogue) -> tuple[int, str] | None:
        """Send one body. None: stored. (row, reason): nothing is stored, and this row is why (-1: not said which)."""
        if self._session is None:
            raise ServiceUnavailable("the QuestDB sink is not open")
        early = np.flatnonzero((batch.timestamp < 0) | (batch.received_at < 0))
        if len(early):
            return int(early[0]), "a time before 1970"
        blamed: tuple[int, str] | None = self._server.ingest(self._session, self._encoder.encode(batch, catalogue))
        return blamed


def _batch(rows: Sequence[TradeRow], ids: np.ndarray[Any, Any]) -> TradeBatch:
    """Turn rows into columns, a column at a time: the busiest coin has 20,000 of them in a window."""
    which = np.array([row[0] for row in rows], np.int64)
    if len(rows) and which.min() < 0:  # another venue's instrument of the same symbol
        rows = [row for row in rows if row[0] >= 0]
        which = which[which >= 0]
    if not rows:
        return TradeBatch.empty()
    numbers, text_id = _ids([row[5] for row in rows])
    return TradeBatch(
        timestamp=np.array([row[1] for row in rows], np.int64), instrument=ids[which],
        price=np.array([row[3] for row in rows], np.float64), quantity=np.array([row[4] for row in rows], np.float64),
        side=np.array([row[2] for row in rows], np.uint8), trade_id=numbers,
        sequence_number=_or(NO_SEQUENCE, [row[6] for row in rows], np.int64),
        received_at=np.array([row[7] for row in rows], np.int64),
        flags=_or(0, [row[8] for row in rows], np.uint8), text_id=text_id)


def _ids(texts: Sequence[str]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any] | None]:
    """Return ids as numbers, and as text where a number would not give the text back."""
    joined = "".join(texts)
    if joined.isascii() and joined.isdecimal() and max(map(len, texts)) < 19 and "" not in texts:
        numbers = np.array(list(map(int, texts)), np.int64)
        if len(joined) == int((np.searchsorted(POWERS, numbers, side="right") + 1).sum()):  # no leading zeros
            return numbers, None
    plain = [text if NUMBER.fullmatch(text) else "" for text in texts]
    odd = [b"" if number else text.encode() for number, text in zip(plain, texts, strict=True)]
    return np.array([int(text or 0) for text in plain], np.int64), np.array(odd) if any(odd) else None


def _or(nothing: int, values: Sequence[int | None], dtype: type[np.integer[Any]]) -> np.ndarray[Any, Any]:
    if set(values) == {None}:
        return np.full(len(values), nothing, dtype)
    return np.array([nothing if one is None else one for one in values], dtype)


@hookimpl
def sinks() -> list[SinkPlugin]:
    """Return the one kind of sink this is."""
    return [SinkPlugin("questdb", QuestDBOptions, QuestDBSink)]
