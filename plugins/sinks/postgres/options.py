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
    read_lag_s: float = 120.0  # a replica that is further behind is not queried
    schema: str = "pumpwatch"
    numbers: Literal["double", "numeric"] = "double"  # of price and quantity: DOUBLE PRECISION or NUMERIC(36, 18)
    retention_days: int = 90  # 0: keep forever
    statement_timeout_ms: int = 10_000
    copy: bool = True  # False: insert rows by INSERT, for a server without COPY
    chunk_hours: int = 0  # of TimescaleDB; 0: a day, or an hour once a day takes more than 8 GB
    backup_dsn: str = ""  # for pg_dump and pg_restore: the server itself, if dsn leads to PgBouncer
    bin_dir: str = ""  # the folder of pg_dump and pg_restore; empty: on the PATH
    data_dir: str = ""  # the folder of a server on this machine that does not report it; its disk is watched

    def __post_init__(self) -> None:
        if importlib.util.find_spec("psycopg") is None:
            raise ValueError(INSTALL)
        if not self.dsn:
            raise ValueError(f"dsn is missing, such as {EXAMPLE}")
        for key in ("dsn", "read_dsn", "backup_dsn"):
            if getattr(self, key):
                address_of(getattr(self, key), key)
        if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", self.schema):
            raise ValueError("schema must have 1 to 63 lower-case letters, digits and _, and not begin with a digit")
        if min(self.retention_days, self.read_lag_s, self.chunk_hours) < 0 or self.statement_timeout_ms <= 0:
            raise ValueError("retention_days, read_lag_s and chunk_hours must be >= 0, and statement_timeout_ms > 0")


def address_of(dsn: str, key: str = "dsn") -> dict[str, Any]:
    """Return the parts of a dsn by libpq's names. Raises ValueError without the dsn in it, which may have a password."""
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    try:
        return dict(conninfo_to_dict(dsn))
    except psycopg.Error:
        raise ValueError(f"{key} must be an address such as {EXAMPLE}") from None
