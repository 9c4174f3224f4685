"""A server that rejects, is full, read-only, killed or hung: one clear line each, and the class says what to do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator

import gevent
import psycopg
import pytest
from pumpwatch_plugins.sinks.postgres import PostgresOptions, PostgresSink
from pumpwatch_plugins.sinks.postgres.server import Server, place_of, translated

from pumpwatch.errors import ConfigError, ServiceUnavailable
from tests.postgres_server import Database, PostgresServer, free_port, new_folder, unprivileged
from tests.sinks.stores import CATALOGUE
from tests.small_disk import small_disk
from tests.trades import batch_of


@pytest.fixture
def guarded(postgres: Database) -> Iterator[str]:
    """A user with a password and no rights; the dsn has no password."""
    postgres.sql("CREATE ROLE with_password")
    postgres.sql("CREATE ROLE guarded LOGIN PASSWORD 'right' IN ROLE with_password")
    yield postgres.dsn.replace("postgres@", "guarded@")
    postgres.sql("DROP OWNED BY guarded CASCADE")
    for role in ("guarded", "with_password"):
        postgres.sql(f"DROP ROLE {role}")


def one_line(error: Exception) -> str:
    assert "\n" not in str(error) and "right" not in str(error)
    return str(error)


def test_a_wrong_password_or_database_is_for_a_person_to_correct(postgres: Database, guarded: str) -> None:
    for options in (PostgresOptions(dsn=guarded, password="wrong"), PostgresOptions(dsn=guarded),
                    PostgresOptions(dsn=postgres.dsn.replace(postgres.name, "nowhere"))):
        with pytest.raises(ConfigError, match="rejects the login") as raised:
            PostgresSink(options).open()
        assert "set sinks.postgres.dsn and sinks.postgres.password" in one_line(raised.value)


def test_a_user_without_the_right_to_create_is_told_what_to_grant(postgres: Database, guarded: str) -> None:
    sink = PostgresSink(PostgresOptions(dsn=guarded, password="right"))
    with pytest.raises(ConfigError, match="permission denied for database") as raised:
        sink.open()
    assert "GRANT CREATE ON DATABASE" in str(raised.value)
    postgres.sql(f"GRANT CREATE ON DATABASE {postgres.name} TO guarded")
    sink.open()
    assert sink.write(batch_of(5), CATALOGUE).accepted == 5
    sink.close()


def test_a_read_only_server_is_waited_for(sink: PostgresSink, postgres: Database) -> None:
    postgres.sql(f"ALTER DATABASE {postgres.name} SET default_transaction_read_only = on")
    sink.close()
    with pytest.raises(ServiceUnavailable, match="read-only transaction") as raised:
        PostgresSink(PostgresOptions(dsn=postgres.dsn, schema="later")).open()
    assert "ALTER SYSTEM RESET default_transaction_read_only" in one_line(raised.value)
    postgres.server.sql(f"ALTER DATABASE {postgres.name} RESET default_transaction_read_only")
    sink.open()
    assert sink.write(batch_of(5), CATALOGUE).accepted == 5


def test_a_statement_that_is_stopped_or_whose_connection_is_ended_is_sent_again(postgres: Database) -> None:
    sink = PostgresSink(PostgresOptions(dsn=postgres.dsn, statement_timeout_ms=200))
    sink.open()
    sink.write(batch_of(5), CATALOGUE)
    with psycopg.connect(postgres.dsn) as holder:
        holder.execute("LOCK TABLE pumpwatch.trade_history IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(ServiceUnavailable, match="statement_timeout_ms"):
            sink.write(batch_of(5), CATALOGUE)
    sink.write(batch_of(5, first_id=10), CATALOGUE)
    ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pumpwatch' AND datname = '{}'"
    postgres.sql(ended.format(postgres.name))
    with pytest.raises(ServiceUnavailable, match=r"57P01|closed the connection"):
        sink.write(batch_of(5, first_id=20), CATALOGUE)
    assert sink.write(batch_of(5, first_id=20), CATALOGUE).accepted == 5
    postgres.sql(ended.format(postgres.name))
    assert sink.count([(0, 2**62)]) == [15], "a question is asked again by itself"
    sink.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small file system")
def test_a_full_disk_is_named_and_the_trades_fit_once_there_is_room(
        postgres_server: PostgresServer, request: pytest.FixtureRequest) -> None:
    folder = new_folder("small")
    request.addfinalizer(lambda: shutil.rmtree(folder))
    with small_disk(folder, 24) as problem:
        if problem:
            pytest.skip(problem)
        user = unprivileged()
        os.chown(folder, user["user"], user["group"])
        postgres_server.sql(f"CREATE TABLESPACE small LOCATION '{folder}'")
        postgres_server.sql("CREATE DATABASE small TEMPLATE template0 TABLESPACE small")
        sink = PostgresSink(PostgresOptions(dsn=postgres_server.dsn("small")))
        sink.open()
        stored: list[int] = []

        def fill() -> None:
            for first in range(1, 10**6, 5_000):
                stored.append(sink.write(batch_of(5_000, first_id=first), CATALOGUE).accepted)

        with pytest.raises(ServiceUnavailable, match="No space left on device") as raised:
            fill()
        assert "the server's disk is full" in one_line(raised.value)
        assert postgres_server.sql("SELECT count(*) FROM pumpwatch.trade_history", "small") == [(sum(stored),)]
        subprocess.run(["mount", "-o", "remount,size=100m", folder], check=True)
        assert sink.write(batch_of(10, first_id=10**6), CATALOGUE).accepted == 10
        sink.close()
        postgres_server.sql("DROP DATABASE small WITH (FORCE)")
        postgres_server.sql("DROP TABLESPACE small")


def test_a_server_that_is_not_there_or_hangs_is_unavailable_in_time(private_postgres: PostgresServer) -> None:
    nowhere = PostgresSink(PostgresOptions(dsn=f"postgresql://127.0.0.1:{free_port()}/x"))
    for call in (nowhere.open, lambda: nowhere.read(CATALOGUE.names([0]), 0, 1, CATALOGUE), nowhere.keeping):
        with pytest.raises(ServiceUnavailable, match="does not answer"):
            call()
    with pytest.raises(ServiceUnavailable, match="not open"):
        nowhere.write(batch_of(1), CATALOGUE)
    server = Server(PostgresOptions(dsn=private_postgres.dsn() + "?connect_timeout=2", statement_timeout_ms=100))
    server.rows("SELECT 1")
    private_postgres.hang()
    with gevent.Timeout(30), pytest.raises(ServiceUnavailable, match=r"no answer within|timeout"):
        server.rows("SELECT 1")
    private_postgres.unhang()
    assert server.rows("SELECT 1") == [(1,)]
    server.close_idle()


PATCHED = """
from gevent import monkey
monkey.patch_all()
import sys, threading
import gevent
from pumpwatch_plugins.sinks.postgres import PostgresOptions, PostgresSink
from pumpwatch.store.sink_threads import off_hub
ticks = 0
def tick():
    global ticks
    while True:
        ticks += 1
        gevent.sleep(0.001)
gevent.spawn(tick)
own = PostgresSink(PostgresOptions(dsn=sys.argv[1]))
own.open()
seen = []
def trouble():
    seen.append(threading.get_native_id())
    own._server.rows("SELECT pg_sleep(0.3)")
own.trouble = trouble
sink = off_hub(own)
for _ in range(2):
    before = ticks
    sink.trouble()
    assert ticks - before > 3, ticks
assert threading.get_native_id() not in seen
"""


def test_in_a_patched_process_the_hub_goes_on_while_the_server_is_asked(postgres: Database) -> None:
    done = subprocess.run([sys.executable, "-c", PATCHED, postgres.dsn], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_the_pool_says_how_many_connections_are_open_and_lent(postgres: Database) -> None:
    server = Server(PostgresOptions(dsn=postgres.dsn))
    assert server.pool == (0, 0)
    with server.session(), server.session():
        assert server.pool == (2, 2)
    assert server.pool == (2, 0)
    with pytest.raises(ServiceUnavailable):
        server.rows("SELECT nonsense")
    assert server.pool == (1, 0)
    server.close_idle()
    assert server.pool == (0, 0)


def test_a_place_names_neither_user_nor_password() -> None:
    assert place_of("postgresql://me:secret@db.example/market") == "PostgreSQL at db.example:5432/market"
    assert place_of("user=me dbname=market") == "PostgreSQL at a socket of this machine:5432/market"


def test_text_that_the_client_does_not_send_is_the_datas_fault() -> None:
    assert type(translated(psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes"), "x")).__name__ == \
        "StatementRejected"
