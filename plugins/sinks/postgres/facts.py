"""Read figures of the server: version, sizes, compression, cache."""

from __future__ import annotations

from pumpwatch_plugins.sinks.postgres.server import Server

from pumpwatch import ServerFacts

_SERVER = ("SELECT current_setting('server_version'), (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'),"
           " blks_hit, blks_read FROM pg_stat_database WHERE datname = current_database()")
_TABLES = ("SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint, count(*) FILTER (WHERE c.relispartition)"
           " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relkind IN ('r', 'm')")
_IS_HYPERTABLE = ("SELECT 1 FROM timescaledb_information.hypertables WHERE hypertable_schema = %s"
                  " AND hypertable_name = 'trade_history'")
_CHUNKS = ("SELECT coalesce(sum(total_bytes), 0)::bigint, count(*)"  # compressed rows are in a table beside the chunk
           " FROM chunks_detailed_size(format('%%I.trade_history', %s::text)::regclass)")
_COMPRESSED = ("SELECT before_compression_total_bytes, after_compression_total_bytes"
               " FROM hypertable_compression_stats(format('%%I.trade_history', %s::text)::regclass)")


def facts(server: Server, schema: str) -> ServerFacts:
    """Return the figures of one schema. Raises ServiceUnavailable if the server does not answer."""
    version, extension, hit, read = server.rows(_SERVER)[0]
    size, parts = server.rows(_TABLES, (schema,))[0]
    name, ratio = f"PostgreSQL {version.split()[0]}", None
    if extension:
        name += f", TimescaleDB {extension}"
    if extension and server.rows(_IS_HYPERTABLE, (schema,)):  # not before `open`, nor in a schema of plain partitions
        chunks_size, parts = server.rows(_CHUNKS, (schema,))[0]
        size += chunks_size
        before, after = (server.rows(_COMPRESSED, (schema,)) if parts else [(None, None)])[0]
        ratio = before / after if before and after else None
    return ServerFacts(name, int(size), int(parts), ratio, hit / (hit + read) if hit + read else None, *server.pool)
