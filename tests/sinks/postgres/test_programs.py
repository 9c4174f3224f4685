"""pg_dump and pg_restore are found, are new enough, see no password in their words, and end with whoever reads them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pumpwatch_plugins.sinks.postgres import PostgresOptions
from pumpwatch_plugins.sinks.postgres.programs import Programs

from pumpwatch.errors import ConfigError, ServiceUnavailable
from tests.sinks.postgres.dumped import only

DSN = "postgresql://me:secret@db.example:5433/market?sslmode=require"


def programs(**options: str) -> Programs:
    return Programs(PostgresOptions(**{"dsn": DSN, **options}))


@pytest.mark.parametrize(("said", "least", "fits"), [
    ("pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", 15, True), ("pg_dump (PostgreSQL) 17.2", 15, True),
    ("pg_dump (PostgreSQL) 18beta1", 18, True), ("pg_dump (PostgreSQL) 9.6.24", 10, False),
    ("pg_dump (PostgreSQL) 16.1", 17, False),
    ("what", 14, False)])
def test_the_version_is_read_from_what_a_program_says(tmp_path: Path, said: str, least: int, fits: bool) -> None:
    found = programs(bin_dir=only(tmp_path, "pg_dump", f"echo '{said}'"))
    if fits:
        assert found.find("pg_dump", least, "the server") == str(tmp_path / "pg_dump")
    else:
        with pytest.raises(ConfigError, match=rf"older than the server \({least}\)"):
            found.find("pg_dump", least, "the server")


def test_a_program_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="pg_dump is not on the PATH"):
        programs().find("pg_dump", 15, "the server")


@pytest.mark.parametrize("options", [{}, {"password": "secret", "dsn": DSN.replace(":secret", "")},
                                     {"backup_dsn": DSN, "dsn": "postgresql://pool.example/market"}])
def test_the_password_is_in_the_environment_and_not_among_the_words(tmp_path: Path, options: dict[str, str]) -> None:
    script = only(tmp_path, "pg_dump", 'echo "$@"; echo "$PGPASSWORD"')
    with programs(**options).reading(f"{script}/pg_dump", "--schema=x") as output:
        words, password = output.read().decode().splitlines()
    assert password == "secret" and "secret" not in words
    assert words.startswith("--schema=x --no-password --dbname ") and "host=db.example" in words and "sslmode=require" in words


def test_one_that_is_not_read_to_its_end_is_ended(tmp_path: Path) -> None:
    script = only(tmp_path, "pg_dump", f"echo $$ > {tmp_path}/pid; exec cat /dev/zero")
    with programs().reading(f"{script}/pg_dump") as output:
        assert output.read(10) == bytes(10)
        pid = int((tmp_path / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_one_that_fails_says_why(tmp_path: Path) -> None:
    script = only(tmp_path, "pg_restore", "echo 'pg_restore: warning: x' >&2; echo 'pg_restore: error: no room' >&2; exit 3")
    with pytest.raises(ServiceUnavailable, match=r"PostgreSQL at db\.example:5433/market: pg_restore: no room|error: no room"):
        programs().feed(None, f"{script}/pg_restore")
    with pytest.raises(ServiceUnavailable, match="ended with exit code 7"):
        programs().feed(None, f"{only(tmp_path, 'pg_restore', 'exit 7')}/pg_restore")
    with pytest.raises(ServiceUnavailable, match="cannot be started"):
        programs().feed(None, str(tmp_path / "nothing"))
