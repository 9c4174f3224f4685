"""The settings of the PostgreSQL sink: the section `sinks.postgres` of the config."""

from __future__ import annotations

import importlib.util
import re
from typing import Any, Literal

import msgspec

INSTALL = "psycopg is not installed: pip install 'pumpwatch[postgres]'"
EXAMPLE = "postgresql://pumpwatch@127.0.0.1:5432/market"


class PostgresOptions(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """`sinks.postgres` of the config."""

    dsn: str = ""
    password: str = ""  # beside the dsn, so that the dsn can be shown
    read_dsn: str = ""  # a replica for queries; empty: the primary answers them
    read_lag_s: float = 120.0  # a replica further behind is not asked
    schema: str = "pumpwatch"
    numbers: Literal["double", "numeric"] = "double"  # of price and quantity: DOUBLE PRECISION or NUMERIC(36, 18)
    retention_days: int = 90  # 0: keep for ever
    statement_timeout_ms: int = 10_000
    copy: bool = True  # False: rows by INSERT, for a server that has no COPY
    chunk_hours: int = 0  # of TimescaleDB; 0: a day, and an hour once a day takes more than 8 GB
    backup_dsn: str = ""  # for pg_dump and pg_restore: the server itself, where dsn leads to PgBouncer
    bin_dir: str = ""  # the folder of pg_dump and pg_restore; empty: they are on the PATH
    data_dir: str = ""  # the server's folder, where it is on this machine and the server does not tell: its disk is watched

    def __post_init__(self) -> None:
        if importlib.util.find_spec("psycopg") is None:
            raise ValueError(INSTALL)
        if not self.dsn:
            raise ValueError(f"dsn is missing, such as {EXAMPLE}")
        for key in ("dsn", "read_dsn", "backup_dsn"):
            if getattr(self, key):
                address_of(getattr(self, key), key)
        if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", self.schema):
            raise ValueError("schema may hold small letters, digits and _ only, 63 at most, and begins with no digit")
        if min(self.retention_days, self.read_lag_s, self.chunk_hours) < 0 or self.statement_timeout_ms <= 0:
            raise ValueError("retention_days, read_lag_s and chunk_hours must be >= 0, and statement_timeout_ms > 0")


def address_of(dsn: str, key: str = "dsn") -> dict[str, Any]:
    """Return the parts of a dsn, by the names of libpq. Raises ValueError, which does not repeat it: it may hold a password."""
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    try:
        return dict(conninfo_to_dict(dsn))
    except psycopg.Error:
        raise ValueError(f"{key} must be an address such as {EXAMPLE}") from None
