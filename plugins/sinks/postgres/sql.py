"""The SQL of the PostgreSQL sink except its schema: times, ranges, sums, rows of health and listings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DAY_NS = 86_400 * 10**9
US_NS = 1_000
TIME_NS = "(extract(epoch FROM time) * 1000000)::bigint * 1000 + time_ns"
HEALTH = ("exchange", "market_type", "connections", "trades", "lag_ms", "gaps", "status", "last_trade_time", "message_count",
          "error_message")
LISTING = ("announced_at", "source", "notice_id", "symbol", "title", "detected_at", "triggered_at", "trigger_delay_ms",
           "needs_body", "archive", "trades", "exchanges_with_data", "drill")
KEYS = {"exchange_health": ("time", "exchange", "market_type"), "listing_events": ("source", "notice_id", "symbol"),
        "system_metrics": ("name", "host", "time")}


def moment(time_ns: int) -> datetime:
    """Return a time (ns UTC), truncated to microseconds."""
    return EPOCH + timedelta(microseconds=time_ns // US_NS)


def literal(time_ns: int) -> str:
    """Return a time (ns UTC), truncated to microseconds, as an SQL literal."""
    return f"'{moment(time_ns).isoformat()}'::timestamptz"


def within(start_ns: int, end_ns: int) -> str:
    """Return the condition that a trade's time is in [start_ns, end_ns), exact to the nanosecond."""
    start, end = literal(start_ns), literal(end_ns)
    parts = [f"time >= {start}", f"time < {end}" if end_ns % US_NS == 0 else f"time <= {end}"]
    if start_ns % US_NS:
        parts.append(f"(time > {start} OR time_ns >= {start_ns % US_NS})")
    if end_ns % US_NS:
        parts.append(f"(time < {end} OR time_ns < {end_ns % US_NS})")
    return " AND ".join(parts)


def counts(schema: str, ranges: Iterable[tuple[int, tuple[int, int]]]) -> str:
    """Return a SELECT of (number of the range, its trades)."""
    return " UNION ALL ".join(f"SELECT {at}, (SELECT count(*) FROM {schema}.trade_history WHERE {within(*bounds)})"
                              for at, bounds in ranges)


def _part() -> str:
    """Return the expression of a trade's part of the checksum."""
    number = ("CASE WHEN trade_id ~ '^-?[0-9]{1,18}$' THEN trade_id::bigint WHEN trade_id ~ '^-?[0-9]{19}$' AND trade_id::numeric"
              " BETWEEN -9223372036854775807 AND 9223372036854775807 THEN trade_id::bigint ELSE 0 END")

    def units(column: str) -> str:
        product = f"trunc({column}::float8 * 1e8)"
        return f"CASE WHEN abs({product}) < 9223372036854775807 THEN {product}::bigint ELSE 0 END::numeric"

    return f"(({TIME_NS}) # {number})::numeric + 31 * {units('quantity')} + 17 * {units('price')}"


def minute_sums(schema: str, start_ns: int, end_ns: int) -> str:
    """Return a SELECT of the trades and the checksum of each symbol and minute, see `SummingSink`."""
    return ("SELECT exchange, market_type, symbol, minute, count(*),"
            " mod(mod(sum(part), 4294967296) + 4294967296, 4294967296)::bigint"
            " FROM (SELECT exchange, market_type, symbol, floor(extract(epoch FROM time) / 60)::bigint AS minute,"
            f" {_part()} AS part FROM {schema}.trade_history WHERE {within(start_ns, end_ns)}) trades GROUP BY 1, 2, 3, 4")


def table_sums(table: str) -> str:
    """Return a SELECT of the trades of a table and their checksum, see `SummingSink`."""
    return (f"SELECT count(*), coalesce(mod(mod(sum({_part()}), 4294967296) + 4294967296, 4294967296), 0)::bigint"
            f" FROM {table}")


def upsert(schema: str, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> tuple[str, list[Any]]:
    """Return an INSERT of these rows that replaces rows with the same key, and its values."""
    keys = KEYS[table]
    row = f"({', '.join(['%s'] * len(columns))})"
    changed = ", ".join(f"{column} = EXCLUDED.{column}" for column in columns if column not in keys)
    statement = (f"INSERT INTO {schema}.{table} ({', '.join(columns)}) VALUES {', '.join([row] * len(rows))}"
                 f" ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {changed}")
    return statement, [value for values in rows for value in values]


def health_rows(rows: Sequence[Mapping[str, Any]], time: datetime, chars: int) -> list[list[Any]]:
    """Return the values of `time` and HEALTH for each row of `Sink.write_health`."""
    changed = ({**row, "last_trade_time": moment(row["last_trade_time"]) if row["last_trade_time"] else None,
                "error_message": row["error_message"][:chars].replace("\0", "") or None} for row in rows)
    return [[time, *(row[column] for column in HEALTH)] for row in changed]
