"""What only PostgreSQL does: a server that goes away, a pooler, a password that nobody sees."""

from __future__ import annotations

import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from pumpwatch.accounts import open_account_ledger
from pumpwatch.accounts.postgres_database import PostgresDatabase, translated
from pumpwatch.accounts.refusals import DamagedLedgerError
from pumpwatch.errors import ConfigError, ServiceUnavailable
from tests.accounts.ledgers import ACCOUNT, FUTURES, figures, fund, traded, whole
from tests.postgres_server import Database, PgBouncer


def test_a_server_that_does_not_answer_is_told_without_the_password() -> None:
    with pytest.raises(ServiceUnavailable, match="refused") as found:
        open_account_ledger("postgresql://me:secret@127.0.0.1:1/x")
    assert "secret" not in str(found.value)


def test_an_address_that_is_none_is_a_matter_of_the_config() -> None:
    with pytest.raises(ConfigError, match="colour"):
        open_account_ledger("postgresql://127.0.0.1/x?colour=red")


def test_a_connection_that_ends_leaves_a_whole_ledger(postgres: Database) -> None:
    with open_account_ledger(postgres.dsn) as ledger:
        fund(ledger)

        def cut() -> None:
            with ledger.transaction():
                ledger.transfer(ACCOUNT, Decimal(1), "", 3)
                ledger.accounts()  # written into the open transaction
                postgres.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name ="
                             " 'pumpwatch account ledger'")

        with pytest.raises(ServiceUnavailable, match="was not confirmed"):
            cut()
    with open_account_ledger(postgres.dsn) as again:
        assert figures(again)[0] == 1000
        whole(again)
        postgres.sql("DROP TABLE fills")
        with pytest.raises(DamagedLedgerError, match="fills"):
            again.fills()


def test_amounts_are_numbers_of_36_digits_there(postgres: Database) -> None:
    with open_account_ledger(postgres.dsn) as ledger:
        fund(ledger, money="999999999999999999.999999999999999999")
        traded(ledger, "o1", "buy", "10", "2", venue=FUTURES)
    assert postgres.value("SELECT balance FROM balances") == Decimal("999999999999999999.999999999999999999")
    assert postgres.sql("SELECT numeric_precision, numeric_scale FROM information_schema.columns WHERE column_name = 'balance'"
                        ) == [(36, 18)]
    assert postgres.value("SELECT payload->'transferred'->>'reason' FROM events WHERE kind = 'transferred'") == "deposit"


def test_a_pooler_may_stand_before_it(pgbouncer: PgBouncer, postgres: Database) -> None:
    with open_account_ledger(pgbouncer.dsn(postgres.name)) as ledger:
        fund(ledger)
        traded(ledger, "o1", "buy", "10", "2")
        whole(ledger)


def test_the_command_of_a_real_process_reads_it(postgres: Database, tmp_path: Path) -> None:
    """Its standard library is patched by gevent, which psycopg must get along with."""
    with open_account_ledger(postgres.dsn) as ledger:
        fund(ledger)
    done = subprocess.run([sys.executable, "-m", "pumpwatch", "paper", "check", "--json"], cwd=tmp_path, capture_output=True,
                          text=True, check=False, timeout=120,
                          env=os.environ | {"PUMPWATCH_PAPER__LEDGER_DSN": postgres.dsn, "PYTHONPATH": str(Path.cwd())})
    assert (done.returncode, done.stderr) == (0, "")
    assert '"detail":"3 events, 1 accounts: every event can be applied"' in done.stdout


def test_placeholders_are_translated() -> None:
    assert translated("SELECT ? WHERE x = ?") == b"SELECT %s WHERE x = %s"
    assert PostgresDatabase.types["amount"] == "NUMERIC(36, 18)"
