"""QuestDB as a sink: ILP over HTTP in, SQL over HTTP out.

Documents: questdb.com/docs (ILP, DDL, REST); tried on server 9.3.4, checked 2026-11-21.
An acknowledged flush is in the server's WAL and becomes visible a little later. It survives a killed server; a power cut
it survives only where the server syncs each commit (`cairo.commit.mode=sync`), which it does not by default. A write on a
connection that was open when its table was dropped is acknowledged and goes nowhere: `keeping` shows that.
Writing a batch again changes nothing: DEDUP UPSERT over (timestamp, exchange, market_type, symbol, trade_id).
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
from pumpwatch_plugins.sinks.questdb_http import Server, StatementRefused
from pumpwatch_plugins.sinks.questdb_ilp import Encoder
from pumpwatch_plugins.sinks.questdb_reading import read as read_trades
from pumpwatch_plugins.sinks.questdb_sql import ensure, ensure_views, insert, tables, text

from pumpwatch import (
    Catalogue,
    Keeping,
    Listing,
    ListingEvent,
    ServiceUnavailable,
    SinkPlugin,
    TradeBatch,
    WriteResult,
    hookimpl,
    shown_address,
)

FLUSH_ROWS = 100_000  # 17 MB
ADDRESS = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[^\s\[\]/:@?#]+):([0-9]{1,5})")  # [::1]:9000 too
COUNTED_AT_ONCE = 50  # ranges in one statement
VISIBLE_WITHIN_S = 10.0  # acknowledged trades, before they are counted
NOTHING_SYNCED_S = 300.0  # what a server that leaves writing to the operating system may lose, with much to spare
ERROR_CHARS = 200
HEALTH_ROWS = 10  # in one statement


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
            ensure(self._server, table)
        if self._options.candles:
            ensure_views(self._server, self._options.table_prefix)
        self._session = self._server.session()

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

    def keeping(self) -> Keeping:
        """Return what this server may lose and does delete, by its own word where it gives one."""
        try:
            mode, started = self._server.exec("SELECT value, pg_postmaster_start_time()::long FROM (SHOW PARAMETERS)"
                                              " WHERE property_path = 'cairo.commit.mode'")[0]
        except (StatementRefused, IndexError):
            mode, started = "", 0
        listed = ", ".join(text(table.name) for table in self._tables)
        there = dict(self._server.exec(f"SELECT table_name, id FROM tables() WHERE table_name IN ({listed})"))
        run = "/".join(str(there.get(table.name, "missing")) for table in self._tables)
        return Keeping(at_risk_s=0.0 if mode == "sync" else NOTHING_SYNCED_S, run=f"{started}/{run}" if started else "",
                       empty=self._trades not in there or self._is_empty(), keeps_s=self._options.ttl_days * 86_400.0)

    def _is_empty(self) -> bool:
        """Return whether no trade is stored, nor on its way to be visible."""
        applied, sent = self._transactions()
        return applied >= sent and not self._server.exec(f"SELECT 1 FROM {self._trades} LIMIT 1")

    def _transactions(self) -> tuple[int, int]:
        """Return up to which transaction the trades are visible, and up to which they were acknowledged."""
        rows = self._server.exec(f"SELECT writerTxn, sequencerTxn FROM wal_tables() WHERE name = {text(self._trades)}")
        return (int(rows[0][0]), int(rows[0][1])) if rows else (0, 0)

    def count(self, ranges: Sequence[tuple[int, int]]) -> list[int]:
        """Count ranges by the table's index of time alone: half a millisecond each, however many rows they hold."""
        _, sent = self._transactions()
        deadline = time.monotonic() + VISIBLE_WITHIN_S
        while self._transactions()[0] < sent:
            if time.monotonic() > deadline:
                raise ServiceUnavailable(f"QuestDB at {self._server.addr}: what it acknowledged is not visible yet")
            time.sleep(0.2)
        counts = [0] * len(ranges)
        for first in range(0, len(ranges), COUNTED_AT_ONCE):
            for at, rows in self._server.exec(" UNION ALL ".join(
                    f"SELECT {at} at, count() FROM {self._trades} WHERE timestamp >= {start:d} AND timestamp < {end:d}"
                    for at, (start, end) in enumerate(ranges[first:first + COUNTED_AT_ONCE], first))):
                counts[at] = rows
        return counts

    def read(self, names: Sequence[tuple[str, str, str]], start_ns: int, end_ns: int,
             catalogue: Catalogue) -> TradeBatch:
        """Return the trades of these names in [start_ns, end_ns) that are visible."""
        if not names:
            return TradeBatch.empty()
        ids = {name: catalogue.ids_of(name[:2])[name[2]] for name in names}
        return read_trades(self._server, self._trades, ids, start_ns, end_ns)

    def write_listing(self, listing: Listing, event: ListingEvent) -> None:
        """Insert one row of listing_events; the same listing again replaces it."""
        row = {
            "timestamp": listing.announced_at_ns, "source": listing.source, "notice_id": listing.notice_id,
            "symbol": listing.symbol, "title": listing.title, "announced_at": listing.announced_at_ns,
            "detected_at": listing.detected_at_ns, "triggered_at": listing.triggered_at_ns,
            "trigger_delay_ms": (listing.triggered_at_ns - listing.announced_at_ns) / 1e6, "needs_body": listing.needs_body,
            "archive": event.archive, "trades": event.trades, "exchanges_with_data": ",".join(event.exchanges_with_data),
        }
        self._server.exec(insert(self._listings, list(row), [list(row.values())]))

    def write_health(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert one minute of exchange_health; the same minute again replaces it."""
        minute = time.time_ns() // 60_000_000_000 * 60_000_000_000
        columns = ("exchange", "market_type", "connections", "trades", "lag_ms", "gaps", "status", "last_trade_time",
                   "message_count", "error_message")
        values = [(minute, *({**row, "last_trade_time": row["last_trade_time"] or None,
                              "error_message": row["error_message"][:ERROR_CHARS] or None}[column] for column in columns))
                  for row in rows]
        for first in range(0, len(values), HEALTH_ROWS):
            self._server.exec(insert(self._health, ("timestamp", *columns), values[first:first + HEALTH_ROWS]))

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


@hookimpl
def sinks() -> list[SinkPlugin]:
    """Return the one kind of sink this is."""
    return [SinkPlugin("questdb", QuestDBOptions, QuestDBSink)]
