"""The servers of tests/postgres_server.py do as tests rely on: databases of their own, kills, restarts, passwords."""

from __future__ import annotations

import os
from pathlib import Path

import psycopg
import pytest

from tests import postgres_server as module
from tests.postgres_server import Database, PgBouncer, PostgresServer, new_folder, program, sql


def test_each_database_is_empty_and_apart(postgres: Database, postgres_server: PostgresServer) -> None:
    postgres.sql("CREATE TABLE mine (x int)")
    other = postgres_server.create_database()
    assert postgres_server.sql("SELECT count(*) FROM pg_class WHERE relname = 'mine'", other) == [(0,)]
    assert postgres.value("SELECT count(*) FROM mine") == 0


def test_a_killed_server_comes_back_with_what_was_committed(private_postgres: PostgresServer) -> None:
    private_postgres.sql("CREATE TABLE t AS SELECT 7 x")
    dsn = private_postgres.dsn()
    private_postgres.kill()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(dsn)
    private_postgres.start()
    assert (private_postgres.dsn(), private_postgres.sql("SELECT x FROM t")) == (dsn, [(7,)])
    private_postgres.hang()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(dsn, connect_timeout=2)
    private_postgres.unhang()
    assert private_postgres.sql("SELECT x FROM t") == [(7,)]
    folder = private_postgres.folder
    private_postgres.remove()
    assert not private_postgres.runs() and not folder.exists()


def test_a_user_with_a_password_must_give_it(postgres: Database) -> None:
    for statement in ("CREATE ROLE with_password", "CREATE ROLE guarded LOGIN PASSWORD 'right' IN ROLE with_password"):
        postgres.sql(statement)
    dsn = postgres.dsn.replace("postgres@", "guarded:{}@")
    assert sql(dsn.format("right"), "SELECT current_user") == [("guarded",)]
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        sql(dsn.format("wrong"), "SELECT 1")
    for role in ("guarded", "with_password"):
        postgres.sql(f"DROP ROLE {role}")


def test_pgbouncer_passes_statements_to_the_database(postgres: Database, pgbouncer: PgBouncer) -> None:
    assert sql(pgbouncer.dsn(postgres.name), "SELECT current_database()") == [(postgres.name,)]


def test_programs_are_those_of_the_folder_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert program("initdb").endswith("/initdb") and program("pgbouncer").endswith("/pgbouncer")
    monkeypatch.setenv("PG_BIN", "/opt/pg/bin")
    assert program("initdb") == "/opt/pg/bin/initdb"
    monkeypatch.delenv("PG_BIN")
    with pytest.raises(RuntimeError, match="postgrex is missing"):
        program("postgrex")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as another user")
def test_the_folder_can_be_reached_by_the_servers_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o700)
    monkeypatch.setattr(module.tempfile, "tempdir", str(tmp_path))
    folder = new_folder("probe")
    assert tmp_path not in folder.parents
    assert folder.stat().st_uid == module.unprivileged()["user"] != 0
    folder.rmdir()
