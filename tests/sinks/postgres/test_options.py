"""The options of the PostgreSQL sink: what cannot work is found when the config is read, and no password is repeated."""

from __future__ import annotations

import importlib.util

import pytest
from pumpwatch_plugins.sinks.postgres import PostgresOptions
from pumpwatch_plugins.sinks.postgres.options import EXAMPLE, address_of

from pumpwatch.config import Config, options_of
from pumpwatch.errors import ConfigError


@pytest.mark.parametrize(("options", "said"), [
    ({}, "dsn is missing, such as postgresql://"),
    ({"dsn": "postgresql://u:secret@[::1/x"}, "dsn must be an address such as"),
    ({"dsn": EXAMPLE, "read_dsn": "host"}, "read_dsn must be an address"),
    ({"dsn": EXAMPLE, "schema": "a;b"}, "schema must have"),
    ({"dsn": EXAMPLE, "schema": "1a"}, "schema must have"),
    ({"dsn": EXAMPLE, "retention_days": -1}, "retention_days"),
    ({"dsn": EXAMPLE, "statement_timeout_ms": 0}, "statement_timeout_ms"),
    ({"dsn": EXAMPLE, "numbers": "float"}, "sinks.postgres.numbers"),
    ({"dns": EXAMPLE}, "did you mean `dsn`"),
])
def test_unknown_and_impossible_options_are_config_errors(options: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as raised:
        options_of(Config(sinks={"postgres": options}), "sinks", "postgres", PostgresOptions)
    assert "secret" not in str(raised.value)


def test_an_address_may_be_written_in_both_ways_of_libpq() -> None:
    assert address_of("postgresql://me@db.example:5433/market?sslmode=verify-full")["sslmode"] == "verify-full"
    assert address_of("host=db.example port=5433 dbname=market") == {"host": "db.example", "port": "5433", "dbname": "market"}


def test_without_psycopg_the_check_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"psycopg is not installed: pip install 'pumpwatch\[postgres\]'"):
        options_of(Config(sinks={"postgres": {"dsn": EXAMPLE}}), "sinks", "postgres", PostgresOptions)
