"""Settings of a server that hurt are named with the statement that mends them."""

from __future__ import annotations

from pumpwatch_plugins.sinks.postgres import PostgresSink
from pumpwatch_plugins.sinks.postgres.advice import _settings


def test_settings_that_hurt_are_named_with_what_mends_them(sink: PostgresSink) -> None:
    found = dict(sink.advice())
    hurt = next(reason for reason in found if reason.startswith("fsync is off"))
    assert found[hurt] == "ALTER SYSTEM SET fsync = on; SELECT pg_reload_conf()"
    assert any(reason.startswith("full_page_writes is off") for reason in found)


def test_a_server_that_is_set_well_gets_no_advice() -> None:
    assert not list(_settings({"fsync": "on", "full_page_writes": "on", "autovacuum": "on", "max_wal_size": "4096"}))
    assert [reason.split(" is ")[0] for reason, _ in _settings({"autovacuum": "off", "max_wal_size": "1024"})] == [
        "autovacuum", "max_wal_size"]
