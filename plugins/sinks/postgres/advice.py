"""Find harmful settings of a PostgreSQL server, with the statement that corrects each. Names are those of server 14 to 18."""

from __future__ import annotations

from collections.abc import Iterator

from pumpwatch_plugins.sinks.postgres.server import Server

WAL_MB = 2_048
SETTINGS = {
    "fsync": ("on", "a power cut may destroy the whole database"),
    "full_page_writes": ("on", "a power cut may leave torn pages"),
    "autovacuum": ("on", "temporary tables of each write bloat the catalogue, and statistics become outdated"),
}


def advice(server: Server) -> list[tuple[str, str]]:
    """Return (problem, the statement that corrects it). Raises ServiceUnavailable if the server does not answer."""
    rows = server.rows("SELECT name, setting FROM pg_settings WHERE name = ANY(%s)", ([*SETTINGS, "max_wal_size"],))
    found = {str(name): str(value) for name, value in rows}
    return [*_settings(found), *_extension(server)]


def _settings(found: dict[str, str]) -> Iterator[tuple[str, str]]:
    for name, (wanted, effect) in SETTINGS.items():
        if found.get(name, wanted) != wanted:
            yield f"{name} is {found[name]}: {effect}", f"ALTER SYSTEM SET {name} = {wanted}; SELECT pg_reload_conf()"
    if int(found.get("max_wal_size", WAL_MB)) < WAL_MB:
        yield (f"max_wal_size is {found['max_wal_size']} MB: at thousands of trades/s one checkpoint follows another",
               f"ALTER SYSTEM SET max_wal_size = '{WAL_MB // 1024}GB'; SELECT pg_reload_conf()")


def _extension(server: Server) -> Iterator[tuple[str, str]]:
    if server.rows("SELECT 1 FROM pg_available_extensions WHERE name = 'timescaledb' AND installed_version IS NULL"):
        yield ("TimescaleDB is available but not used: trades are in plain partitions, without compression",
               "before the first trades: CREATE EXTENSION timescaledb; a schema that has trades stays as it is")
