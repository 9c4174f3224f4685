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
import requests
from questdb import QuestDBError, QuestDBErrorCode, Sender

from pumpwatch import (
    NO_SEQUENCE,
    Catalogue,
    ConfigError,
    Listing,
    ServiceUnavailable,
    SinkPlugin,
    TradeBatch,
    WriteResult,
    hookimpl,
)
from pumpwatch_plugins.sinks.questdb_tables import Table, candle_views, tables

FLUSH_ROWS = 100_000  # 181 bytes a row, 100 MB a buffer
FRAME_ROWS = 5_000  # the client holds the GIL while it reads a frame: 3 ms
SYMBOLS = ["exchange", "market_type", "symbol", "side"]
DDL_TIMEOUT_S = 30.0
UNREACHABLE = "is QuestDB running there? `packaging/questdb start DIR` starts one"


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
        self._tables = tables(options.table_prefix, options.ttl_days)
        self._trades = self._tables[0].name
        self._sender: Sender | None = None
        self._buffer: Any = None
        self._names: tuple[np.ndarray[Any, Any], ...] = ()

    def open(self) -> None:
        """Make the tables and views that are missing and check those that are there."""
        self.close()
        with requests.Session() as session:
            for table in self._tables:
                self._exec(table.ddl(), session)
                self._check(table, session)
            for view in candle_views(self._options.table_prefix) if self._options.candles else ():
                self._exec(view, session)
        sender = Sender.from_conf(self._conf())
        sender.establish()
        self._sender, self._buffer = sender, sender.new_buffer()

    def write(self, batch: TradeBatch, catalogue: Catalogue) -> WriteResult:
        """Send the batch in flushes of at most FLUSH_ROWS rows; return when the server has answered for each."""
        accepted, refused = 0, []
        for start in range(0, len(batch), FLUSH_ROWS):
            part = batch.take(slice(start, start + FLUSH_ROWS))
            answer = self._flush(part, catalogue)
            if answer is None:
                accepted += len(part)
            elif answer[0] >= 0:
                refused.append((start + answer[0], answer[1]))
        return WriteResult(accepted, refused)

    def trouble(self) -> str:
        """Name the suspended tables, if there are any."""
        rows = self._exec("SELECT name, errorTag, errorMessage FROM wal_tables() WHERE suspended")["dataset"]
        ours = {table.name for table in self._tables}
        return "; ".join(f"table {name} is suspended {tag} {text}".strip() + f": ALTER TABLE {name} RESUME WAL"
                         for name, tag, text in rows if name in ours)

    def read(self, names: Sequence[tuple[str, str, str]], start_ns: int, end_ns: int, catalogue: Catalogue) -> TradeBatch:
        """Return the trades of these names in [start_ns, end_ns) that are visible."""
        if not names:
            return TradeBatch.empty()
        symbols = ", ".join(sorted({_text(symbol) for _, _, symbol in names}))
        rows = self._exec(
            "SELECT timestamp::long, exchange, market_type, symbol, side, price, quantity, trade_id, sequence_number,"
            f" received_at::long, flags FROM {self._trades}"
            f" WHERE timestamp >= {start_ns:d} AND timestamp < {end_ns:d} AND symbol IN ({symbols})")["dataset"]
        return _batch(rows, {name: catalogue.ids_of(name[:2])[name[2]] for name in names})

    def write_listing(self, listing: Listing, archive: str, trades: int) -> None:
        """Insert one row of listing_events; the same listing again replaces it."""
        self._exec(
            f"INSERT INTO {self._tables[2].name} VALUES ({listing.announced_at_ns:d}, {_text(listing.source)},"
            f" {_text(listing.notice_id)}, {_text(listing.symbol)}, {_text(listing.title)}, {listing.detected_at_ns:d},"
            f" {listing.triggered_at_ns:d}, {str(listing.needs_body).lower()}, {_text(archive)}, {trades:d})")

    def write_health(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert one minute of exchange_health."""
        if not rows:
            return
        minute = time.time_ns() // 60_000_000_000 * 60_000_000_000
        values = ", ".join(
            f"({minute:d}, {_text(row['exchange'])}, {_text(row['market_type'])}, {int(row['connections'])},"
            f" {int(row['trades'])}, {float(row['lag_ms'])}, {int(row['gaps'])})" for row in rows)
        self._exec(f"INSERT INTO {self._tables[1].name} VALUES {values}")

    def close(self) -> None:
        """Drop the connection; what was not flushed is the caller's still."""
        sender, self._sender, self._buffer = self._sender, None, None
        if sender is not None:
            sender.close(flush=False)

    def _flush(self, batch: TradeBatch, catalogue: Catalogue) -> tuple[int, str] | None:
        """Send one buffer. None: stored. (row, reason): nothing stored, and this row is why (-1: not said which)."""
        if self._sender is None or self._buffer is None:
            raise ServiceUnavailable("QuestDB sink is not open")
        self._buffer.clear()
        try:
            for start in range(0, len(batch), FRAME_ROWS):
                self._buffer.dataframe(self._frame(batch.take(slice(start, start + FRAME_ROWS)), catalogue),
                                       table_name=self._trades, symbols=SYMBOLS, at="timestamp")
            self._sender.flush(self._buffer, clear=False)
        except QuestDBError as error:
            return self._refusal(error)
        return None

    def _refusal(self, error: QuestDBError) -> tuple[int, str]:
        text = str(error)
        if error.code is QuestDBErrorCode.BadDataFrame:
            return -1, text
        if error.code is QuestDBErrorCode.ServerFlushError and '"line":' in text:
            answer = json.loads(text[text.index("{"):text.rindex("}") + 1])
            return int(answer["line"]) - 1, " ".join(str(answer["message"]).split("\n")[1:])
        raise ServiceUnavailable(f"QuestDB at {self._options.addr}: {text}", UNREACHABLE) from error

    def _frame(self, batch: TradeBatch, catalogue: Catalogue) -> pd.DataFrame:
        if not self._names or len(self._names[0]) < len(catalogue):
            venues, instruments = catalogue.venues, catalogue.instruments
            self._names = (_objects([one[0] for one in venues]), _objects([one[1] for one in venues]),
                           _objects([one.symbol for one in instruments]), _objects(["buy", "sell"]))
        exchanges, markets, symbols, sides = self._names
        columns: dict[str, Any] = {
            "exchange": exchanges[batch.instrument], "market_type": markets[batch.instrument],
            "symbol": symbols[batch.instrument], "side": sides[batch.side],
            "price": batch.price, "quantity": batch.quantity, "trade_id": _objects(batch.id_texts()),
            "received_at": batch.received_at.view("M8[ns]"), "flags": batch.flags.astype(np.int32),
            "timestamp": batch.timestamp.view("M8[ns]"),
        }
        if (batch.sequence_number != NO_SEQUENCE).any():
            columns["sequence_number"] = batch.sequence_number
        return pd.DataFrame(columns, copy=False)

    def _check(self, table: Table, session: requests.Session) -> None:
        found = {row[0]: (row[1], row[2]) for row in self._exec(
            f'SELECT "column", type, upsertKey FROM table_columns({_text(table.name)})', session)["dataset"]}
        for column, kind in table.columns:
            if column not in found:
                raise ConfigError(f"QuestDB table {table.name} has no column {column}",
                                  f"ALTER TABLE {table.name} ADD COLUMN {column} {kind}, or rename the table away")
            if found[column][0] != kind:
                raise ConfigError(
                    f"QuestDB table {table.name}: column {column} is {found[column][0]}, expected {kind}",
                    f"ALTER TABLE {table.name} ALTER COLUMN {column} TYPE {kind}, or rename the table away"
                    f" (RENAME TABLE {table.name} TO {table.name}_old), or set sinks.questdb.table_prefix")
        keys = {column for column, (_, key) in found.items() if key}
        if keys != set(table.keys):
            raise ConfigError(
                f"QuestDB table {table.name}: deduplicates on {', '.join(sorted(keys)) or 'nothing'},"
                f" expected {', '.join(table.keys)}",
                f"ALTER TABLE {table.name} DEDUP ENABLE UPSERT KEYS({', '.join(table.keys)})")
        days, unit = self._exec(f"SELECT ttlValue, ttlUnit FROM tables() WHERE table_name = {_text(table.name)}", session)["dataset"][0]
        if table.ttl_days is not None and (days, unit) != (table.ttl_days, "DAY") and not (days == 0 == table.ttl_days):
            self._exec(f"ALTER TABLE {table.name} SET TTL {table.ttl_days} DAYS", session)

    def _exec(self, statement: str, session: requests.Session | None = None) -> dict[str, Any]:
        options = self._options
        try:
            answer = (session or requests).get(
                f"{'https' if options.tls else 'http'}://{options.addr}/exec", params={"query": statement},
                auth=(options.user, options.password) if options.user else None, verify=options.ca_file or True,
                timeout=DDL_TIMEOUT_S if session else options.request_timeout_ms / 1000)
        except requests.RequestException as error:
            raise ServiceUnavailable(f"QuestDB at {options.addr} does not answer: {error}", UNREACHABLE) from error
        if answer.status_code in (401, 403):
            raise ConfigError(f"QuestDB at {options.addr} refuses the user", "set sinks.questdb.user and password")
        try:
            body: dict[str, Any] = msgspec.json.decode(answer.content)
        except msgspec.DecodeError as error:
            raise ServiceUnavailable(f"QuestDB at {options.addr}: HTTP {answer.status_code}: {answer.text[:200]}") from error
        if "error" in body:
            raise ServiceUnavailable(f"QuestDB at {options.addr}: {body['error']}: {statement[:200]}")
        return body

    def _conf(self) -> str:
        options = self._options
        login = f"username={_escape(options.user)};password={_escape(options.password)};" if options.user else ""
        roots = f"tls_roots={_escape(options.ca_file)};" if options.tls and options.ca_file else ""
        return (f"{'https' if options.tls else 'http'}::addr={options.addr};{login}{roots}auto_flush=off;protocol_version=2;"
                f"retry_timeout=0;request_timeout={options.request_timeout_ms};")


def _batch(rows: list[list[Any]], ids: Mapping[tuple[str, str, str], int]) -> TradeBatch:
    rows = [row for row in rows if (row[1], row[2], row[3]) in ids]
    if not rows:
        return TradeBatch.empty()
    timestamp, exchange, market_type, symbol, side, price, quantity, trade_id, sequence, received, flags = zip(*rows, strict=True)
    texts = [text.encode() for text in trade_id]
    numbers = np.array([int(text) if _is_int64(text) else 0 for text in trade_id], np.int64)
    odd = [b"" if _is_int64(text) else raw for text, raw in zip(trade_id, texts, strict=True)]
    return TradeBatch(
        np.array(timestamp, np.int64), np.array([ids[name] for name in zip(exchange, market_type, symbol, strict=True)], np.int32),
        np.array(price, np.float64), np.array(quantity, np.float64), np.array([one == "sell" for one in side], np.uint8),
        numbers, np.array([NO_SEQUENCE if one is None else one for one in sequence], np.int64),
        np.array(received, np.int64), np.array([one or 0 for one in flags], np.uint8),
        np.array(odd) if any(odd) else None)


def _is_int64(text: str) -> bool:
    return text.lstrip("-").isdigit() and len(text) < 19 and str(int(text)) == text


def _objects(texts: list[str]) -> np.ndarray[Any, Any]:
    return np.array(texts, object)


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _escape(value: str) -> str:
    return value.replace(";", ";;")


@hookimpl
def sinks() -> list[SinkPlugin]:
    return [SinkPlugin("questdb", QuestDBOptions, QuestDBSink)]
