"""Upkeep of plain PostgreSQL without TimescaleDB: create days ahead, drop old ones, and compute candles of changed minutes.

With the extension, its own policies do all of this (chunks.py).
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterable
from datetime import datetime, timedelta

import numpy as np
from pumpwatch_plugins.sinks.postgres.options import PostgresOptions
from pumpwatch_plugins.sinks.postgres.server import BRIEFLY, LOCKED, Server, StatementRejected
from pumpwatch_plugins.sinks.postgres.sql import DAY_NS, literal, moment

from pumpwatch import ServiceUnavailable, TradeBatch

MINUTE_NS = 60 * 10**9
AHEAD_DAYS, BEHIND_DAYS = 3, 400  # from today; trades of other days are in trade_history_other
SETTLED_S = 10.0  # candles of a minute are computed this long after its end: late trades arrive within seconds
MINUTES_AT_ONCE = 30
DAYS_EVERY_S = 600.0
MADE = re.compile(r"trade_history_(\d{8})")
CANDLE = ("time", "exchange", "market_type", "symbol", "open", "high", "low", "close", "volume", "turnover", "buy_volume",
          "trades")


class Upkeep:
    """The days and candles of one schema of plain partitions. Any thread may call; every method blocks."""

    def __init__(self, server: Server, options: PostgresOptions) -> None:
        self._server, self._schema, self._retention_days = server, options.schema, options.retention_days
        self._kept_days = options.retention_days  # of trades, which may be dropped earlier than the rest
        self._made: set[int] = set()  # days since 1970 that have a partition, or cannot have one
        self._days_at = 0.0

    def keep_days(self, days: int) -> None:
        """Set the retention of trades to `days` days; 0 restores that of the options."""
        self._kept_days, self._days_at = days or self._retention_days, 0.0

    def forget(self) -> None:
        """Forget what was found: the tables may be new."""
        self._made, self._days_at = set(), 0.0

    def make_days(self, days: Iterable[int]) -> None:
        """Create the partitions of those of these days (since 1970) that are near today."""
        today = time.time_ns() // DAY_NS
        for day in sorted(set(days) - self._made):
            if today - BEHIND_DAYS <= day <= today + AHEAD_DAYS:
                with contextlib.suppress(StatementRejected):  # trade_history_other has trades of this day, which stay there
                    self._make_day(day)
            self._made.add(day)

    def _make_day(self, day: int) -> None:
        name = f"{self._schema}.trade_history_{moment(day * DAY_NS):%Y%m%d}"
        with self._server.session(also=BRIEFLY) as connection:  # it locks the whole table, as a DROP does
            connection.execute(b"SELECT pg_advisory_xact_lock(hashtext('pumpwatch days ' || %s))", (self._schema,))
            connection.execute(
                f"CREATE TABLE IF NOT EXISTS {name} PARTITION OF {self._schema}.trade_history"
                f" FOR VALUES FROM ({literal(day * DAY_NS)}) TO ({literal((day + 1) * DAY_NS)})".encode())

    def run(self) -> None:
        """Do the due upkeep."""
        if time.monotonic() >= self._days_at:
            self._days_at = time.monotonic() + DAYS_EVERY_S
            today = time.time_ns() // DAY_NS
            self.make_days(range(today, today + AHEAD_DAYS))
            self.drop_old()
        while self.make_candles() == MINUTES_AT_ONCE:
            pass

    def drop_old(self) -> None:
        """Drop days, and delete other rows, that are older than the retention."""
        if not self._retention_days:
            return
        now = moment(time.time_ns())
        kept, before = now - timedelta(days=self._kept_days), now - timedelta(days=self._retention_days)
        for name, in self._server.rows("SELECT relname::text FROM pg_class JOIN pg_inherits ON oid = inhrelid WHERE inhparent ="
                                       " to_regclass(%s) ORDER BY 1", (f"{self._schema}.trade_history",)):
            made = MADE.fullmatch(name)
            if made and datetime.strptime(f"{made[1]}+0000", "%Y%m%d%z") + timedelta(days=1) <= kept:
                try:
                    self._server.drop(f"DROP TABLE IF EXISTS {self._schema}.{name}")
                except ServiceUnavailable as error:
                    if getattr(error.__cause__, "sqlstate", "") != LOCKED:
                        raise
                    break  # a backup reads it
                self._made.clear()
        for table in ("trade_history_other", "candles", "exchange_health", "system_metrics"):
            self._server.rows(f"DELETE FROM {self._schema}.{table} WHERE time < %s", (before,))

    def make_candles(self) -> int:
        """Compute the candles of past minutes that have changed; return the number of these minutes.

        The transaction that computes a minute's candles removes it from the list, and a writer adds it in the transaction of its
        trades, so that a crash loses none. A minute that a writer has locked is left for the next call.
        """
        until = moment(time.time_ns() - MINUTE_NS) - timedelta(seconds=SETTLED_S)
        with self._server.session() as connection:
            found = connection.execute(
                f"DELETE FROM {self._schema}.stale_minutes WHERE time IN (SELECT time FROM {self._schema}.stale_minutes WHERE"
                f" time < %s ORDER BY time LIMIT {MINUTES_AT_ONCE} FOR UPDATE SKIP LOCKED) RETURNING time".encode(),
                (until,)).fetchall()
            for minute, in found:
                connection.execute(candles_of_minute(self._schema).encode(), (minute, minute))
        return len(found)


def candles_of_minute(schema: str) -> str:
    """Return the statement that computes the candles of one minute; its values are the minute, twice."""
    order = "ORDER BY time{0}, time_ns{0}, length(trade_id){0}, trade_id{0}"
    changed = ", ".join(f"{name} = EXCLUDED.{name}" for name in CANDLE[4:])
    return (
        f"INSERT INTO {schema}.candles ({', '.join(CANDLE)})"
        " SELECT date_trunc('minute', min(time)), exchange, market_type, symbol,"
        f" (array_agg(price {order.format('')}))[1], max(price), min(price), (array_agg(price {order.format(' DESC')}))[1],"
        " sum(quantity), sum(price * quantity), coalesce(sum(quantity) FILTER (WHERE side = 'buy'), 0), count(*)"
        f" FROM {schema}.trade_history WHERE time >= %s AND time < %s + interval '1 minute' AND coalesce(flags, 0) & 12 = 0"
        " GROUP BY exchange, market_type, symbol"
        f" ON CONFLICT (symbol, exchange, market_type, time) DO UPDATE SET {changed}")


def touch(schema: str, batch: TradeBatch) -> str:
    """Return the statement that adds the minutes of a batch to the list; it is the last one of the writer's transaction."""
    minutes = np.unique(batch.timestamp // MINUTE_NS).tolist()
    values = ", ".join(f"({literal(minute * MINUTE_NS)}, 1)" for minute in minutes)
    return (f"INSERT INTO {schema}.stale_minutes (time, touched) VALUES {values}"
            " ON CONFLICT (time) DO UPDATE SET touched = stale_minutes.touched % 1000 + 1")
