"""The QuestDB sink.

An acknowledged flush is in the server's WAL and becomes visible a little later. It survives a killed server. It survives a power
cut only if the server syncs each commit (`cairo.commit.mode=sync`), which is not the default. A write on a connection that was
open when its table was dropped is acknowledged and lost; `keeping` detects this.
Writing a batch again changes nothing: DEDUP UPSERT over (timestamp, exchange, market_type, symbol, trade_id).
If one row has a wrong type, the server rejects the whole flush and names the line; nothing of that flush is stored. A suspended
table acknowledges rows without making them visible; `trouble` checks for it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from pumpwatch_plugins.sinks.questdb.advice import advice
from pumpwatch_plugins.sinks.questdb.days import Days
from pumpwatch_plugins.sinks.questdb.http import Server, StatementRejected
from pumpwatch_plugins.sinks.questdb.options import QuestDBOptions
from pumpwatch_plugins.sinks.questdb.reading import read as read_trades
from pumpwatch_plugins.sinks.questdb.sender import TradeSender
from pumpwatch_plugins.sinks.questdb.sql import (
    DDL_TIMEOUT_S,
    drop_views,
    ensure,
    ensure_views,
    exists,
    insert,
    minute_sums,
    tables,
    text,
)

from pumpwatch import (
    Catalogue,
    ConfigError,
    Keeping,
    Listing,
    ListingEvent,
    PumpWatchError,
    ServerFacts,
    ServiceUnavailable,
    TradeBatch,
    WriteResult,
)

FLUSH_ROWS = 25_000  # 4.5 MB as lines, held twice while they are sent
COUNTED_AT_ONCE = 50  # ranges in one statement
VISIBLE_WITHIN_S = 10.0  # acknowledged trades, before they are counted
NOTHING_SYNCED_S = 300.0  # how much a server that does not sync may lose, with a wide margin
ERROR_CHARS = 200
HEALTH_ROWS = 10  # in one statement
TRIAL = "trial_"  # in the prefix of the tables of a trial


class QuestDBSink:
    """One server. `open`, `write`, `close` in the sink's thread; the rest in any thread."""

    def __init__(self, options: QuestDBOptions) -> None:
        self._options = options
        self._server = Server(options)
        self._tables = tables(options.table_prefix, options.ttl_days)
        self._trades, self._health, self._listings = (table.name for table in self._tables)
        self._sender = TradeSender(self._server, self._trades)
        days = Days(self._server, self._trades, options)
        self.days, self.keep_days, self.drop_days = days.days, days.keep_days, days.drop_days
        self.write_parquet, self.day_sums, self.files_in = days.write_parquet, days.day_sums, days.files_in

    def open(self) -> None:
        """Create missing tables and views, check the existing ones, and choose the protocol version."""
        self.close()
        self._server.exec("SELECT 1")  # detects a hanging server within request_timeout_ms
        if self._options.candles and not exists(self._server, self._tables[0]):
            drop_views(self._server, self._options.table_prefix)
        for table in self._tables:
            ensure(self._server, table)
        if self._options.candles:
            ensure_views(self._server, self._options.table_prefix)
        self._sender.open()

    def write(self, batch: TradeBatch, catalogue: Catalogue) -> WriteResult:
        """Send the batch in flushes of at most FLUSH_ROWS rows; return when the server has answered each."""
        accepted, rejected = 0, []
        for start in range(0, len(batch), FLUSH_ROWS):
            part = batch if len(batch) <= FLUSH_ROWS else batch.take(slice(start, start + FLUSH_ROWS))
            blamed = self._flush(part, catalogue)
            if blamed is None:
                accepted += len(part)
            elif blamed[0] >= 0:
                rejected.append((start + blamed[0], blamed[1]))
        return WriteResult(accepted, rejected)

    def trouble(self) -> str:
        """Return the suspended tables with the statement that resumes each; empty if there are none."""
        ours = {table.name for table in self._tables}
        rows = self._server.exec("SELECT name, errorTag, errorMessage FROM wal_tables() WHERE suspended")
        return "; ".join(" ".join(f"table {name} is suspended {tag} {message}".split())
                         + f": ALTER TABLE {name} RESUME WAL" for name, tag, message in rows if name in ours)

    def advice(self) -> Sequence[tuple[str, str]]:
        """Return harmful settings of the server, see `advice.advice`."""
        found: Sequence[tuple[str, str]] = advice(self._server, self._tables)
        return found

    def server(self) -> str:
        """Return the version and the address of the server."""
        return f"{self._version()} at {self._server.addr}"

    def _version(self) -> str:
        build = str(self._server.exec("SELECT build()")[0][0])
        named = re.search(r"QuestDB [\d.]+", build)
        return named.group() if named else build[:ERROR_CHARS]

    def facts(self) -> ServerFacts:
        """Return the version of the server, and the size and number of the partitions of the tables."""
        size, parts = 0, 0
        for table in self._tables:
            if exists(self._server, table):
                count, held = self._server.exec(f"SELECT count(), sum(diskSize) FROM table_partitions({text(table.name)})")[0]
                size, parts = size + int(held or 0), parts + int(count)
        return ServerFacts(self._version(), size, parts)

    def keeping(self) -> Keeping:
        """Return how much this server may lose and when it deletes, from its own settings if it shows them."""
        try:
            mode, started = self._server.exec("SELECT value, pg_postmaster_start_time()::long FROM (SHOW PARAMETERS)"
                                              " WHERE property_path = 'cairo.commit.mode'")[0]
        except (StatementRejected, IndexError):
            mode, started = "", 0
        listed = ", ".join(text(table.name) for table in self._tables)
        ids = dict(self._server.exec(f"SELECT table_name, id FROM tables() WHERE table_name IN ({listed})"))
        run = "/".join(str(ids.get(table.name, "missing")) for table in self._tables)
        return Keeping(at_risk_s=0.0 if mode == "sync" else NOTHING_SYNCED_S, run=f"{started}/{run}" if started else "",
                       empty=self._trades not in ids or self._is_empty(), keeps_s=self._options.ttl_days * 86_400.0)

    def _is_empty(self) -> bool:
        """Return whether the table holds no trade and none is waiting to become visible."""
        applied, sent = self._transactions()
        return applied >= sent and not self._server.exec(f"SELECT 1 FROM {self._trades} LIMIT 1")

    def _transactions(self) -> tuple[int, int]:
        """Return the last transaction whose trades are visible, and the last one that was acknowledged."""
        rows = self._server.exec(f"SELECT writerTxn, sequencerTxn FROM wal_tables() WHERE name = {text(self._trades)}")
        return (int(rows[0][0]), int(rows[0][1])) if rows else (0, 0)

    def count(self, ranges: Sequence[tuple[int, int]]) -> list[int]:
        """Count the trades in each range of timestamps, in half a millisecond per range of any size."""
        self._wait_until_visible()
        counts = [0] * len(ranges)
        for first in range(0, len(ranges), COUNTED_AT_ONCE):
            for at, rows in self._server.exec(" UNION ALL ".join(
                    f"SELECT {at} at, count() FROM {self._trades} WHERE timestamp >= {start:d} AND timestamp < {end:d}"
                    for at, (start, end) in enumerate(ranges[first:first + COUNTED_AT_ONCE], first))):
                counts[at] = rows
        return counts

    def minute_sums(self, start_ns: int, end_ns: int) -> list[tuple[str, str, str, int, int, int]]:
        """Return trades and checksum of each symbol and minute of [start_ns, end_ns)."""
        self._wait_until_visible()
        rows = self._server.exec(minute_sums(self._trades, start_ns, end_ns))
        return [(exchange, market_type, symbol, minute, trades, int(checksum)) for exchange, market_type, symbol, minute, trades,
                checksum in rows]

    def _wait_until_visible(self) -> None:
        """Wait until all trades acknowledged so far are visible. Raises ServiceUnavailable if that takes too long."""
        _, sent = self._transactions()
        deadline = time.monotonic() + VISIBLE_WITHIN_S
        while self._transactions()[0] < sent:
            if time.monotonic() > deadline:
                raise ServiceUnavailable(f"QuestDB at {self._server.addr}: acknowledged trades are not visible yet")
            time.sleep(0.2)

    def read(self, names: Sequence[tuple[str, str, str]], start_ns: int, end_ns: int,
             catalogue: Catalogue) -> TradeBatch:
        """Return the visible trades of these names in [start_ns, end_ns)."""
        if not names:
            return TradeBatch.empty()
        ids = {name: catalogue.ids_of(name[:2])[name[2]] for name in names}
        return read_trades(self._server, self._trades, ids, start_ns, end_ns)

    def write_listing(self, listing: Listing, event: ListingEvent) -> None:
        """Insert one row of listing_events; the same listing again replaces it. Raises PumpWatchError if it is rejected."""
        row = {
            "timestamp": listing.announced_at_ns, "source": listing.source, "notice_id": listing.notice_id,
            "symbol": listing.symbol, "title": listing.title, "announced_at": listing.announced_at_ns,
            "detected_at": listing.detected_at_ns, "triggered_at": listing.triggered_at_ns,
            "trigger_delay_ms": (listing.triggered_at_ns - listing.announced_at_ns) / 1e6, "needs_body": listing.needs_body,
            "archive": event.archive, "trades": event.trades, "exchanges_with_data": ",".join(event.exchanges_with_data),
            "drill": listing.drill,
        }
        try:
            self._server.exec(insert(self._listings, list(row), [list(row.values())]))
        except StatementRejected as error:
            raise PumpWatchError(error.message, error.hint) from error

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
        """Close the connection; the caller keeps trades that were not flushed."""
        self._sender.close()

    def trial(self, name: str) -> QuestDBSink:
        """Return a sink on the same server with separate tables: `TABLE_PREFIXtrial_NAME_trades` and so on."""
        options = msgspec.structs.replace(self._options, table_prefix=f"{self._options.table_prefix}{TRIAL}{name}_")
        return QuestDBSink(options)

    def trial_place(self) -> str:
        """Return the server and the tables."""
        return f"QuestDB at {self._server.addr}, tables {', '.join(table.name for table in self._tables)}"

    def remove_trial(self) -> None:
        """Drop the tables and views of a trial. Raises ConfigError for any other sink."""
        if TRIAL not in self._options.table_prefix:
            raise ConfigError(f"{self.trial_place()}: these are not tables of a trial, so they are not dropped")
        self.close()
        drop_views(self._server, self._options.table_prefix)
        for table in self._tables:
            self._server.exec(f"DROP TABLE IF EXISTS {table.name}", DDL_TIMEOUT_S)

    def _flush(self, batch: TradeBatch, catalogue: Catalogue) -> tuple[int, str] | None:
        """Send one request, see `TradeSender.send`; a time before 1970 is rejected here."""
        early = np.flatnonzero((batch.timestamp < 0) | (batch.received_at < 0))
        if len(early):
            return int(early[0]), "a time before 1970"
        blamed: tuple[int, str] | None = self._sender.send(batch, catalogue)
        return blamed
