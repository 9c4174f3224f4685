"""Set the length and the retention of TimescaleDB's chunks. The extension's own jobs do the work."""

from __future__ import annotations

from pumpwatch_plugins.sinks.postgres.server import Server

DAY_H, HOUR_H = 24, 1
# A chunk whose index does not fit into the server's memory slows every write: an hour at 5,000 trades/s takes 4.3 GB.
LARGE_DAY_BYTES = 8 << 30
NEWEST = ("SELECT s.total_bytes, extract(epoch FROM range_end - range_start) / 3600 FROM timescaledb_information.chunks k"
          " JOIN chunks_detailed_size(%s::regclass) s USING (chunk_schema, chunk_name) WHERE k.hypertable_schema = %s"
          " AND k.hypertable_name = 'trade_history' AND k.range_end <= now() AND NOT k.is_compressed"
          " ORDER BY k.range_start DESC LIMIT 1")
INTERVAL = ("SELECT extract(epoch FROM time_interval) / 3600 FROM timescaledb_information.dimensions"
            " WHERE hypertable_schema = %s AND hypertable_name = 'trade_history'")
POLICY = ("SELECT extract(epoch FROM (config ->> 'drop_after')::interval) / 86400 FROM timescaledb_information.jobs"
          " WHERE proc_name = 'policy_retention' AND hypertable_schema = %s AND hypertable_name = 'trade_history'")


def fit_chunks(server: Server, schema: str, hours: int = 0) -> int:
    """Set the length of new chunks by the volume or by `hours`; return it in hours. Raises ServiceUnavailable.

    hours: 0 means a day, or an hour once the newest complete chunk shows that a day takes more than LARGE_DAY_BYTES; below half
    of that it is a day again. Existing chunks stay as they are.
    """
    table, now_h = f"{schema}.trade_history", round(float(server.rows(INTERVAL, (schema,))[0][0]))
    wanted = hours or _by_volume(server, schema, now_h)
    if wanted != now_h:
        server.rows("SELECT set_chunk_time_interval(%s::regclass, make_interval(hours => %s))", (table, wanted))
    return wanted


def _by_volume(server: Server, schema: str, now_h: int) -> int:
    rows = server.rows(NEWEST, (f"{schema}.trade_history", schema))
    if not rows:
        return now_h
    day_bytes = float(rows[0][0] or 0) * DAY_H / max(float(rows[0][1]), 1e-3)
    if day_bytes > LARGE_DAY_BYTES:
        return HOUR_H
    return DAY_H if day_bytes < LARGE_DAY_BYTES / 2 else now_h


def set_retention(server: Server, schema: str, days: int) -> None:
    """Drop chunks after `days` days, 0: never; an existing policy is replaced if it differs."""
    table = f"{schema}.trade_history"
    found = [round(float(kept)) for kept, in server.rows(POLICY, (schema,))]
    if found == ([days] if days else []):
        return
    server.rows("SELECT remove_retention_policy(%s::regclass, if_exists => true)", (table,))
    if days:
        server.rows("SELECT add_retention_policy(%s::regclass, make_interval(days => %s))", (table, days))
