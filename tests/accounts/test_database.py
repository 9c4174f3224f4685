"""Both databases give what the ledger needs, in the same way."""

from __future__ import annotations

import pytest

from pumpwatch.accounts import AccountLedger
from pumpwatch.accounts.database import conflict, placeholders


def test_what_is_done_inside_is_kept_or_undone_together(ledger: AccountLedger) -> None:
    database = ledger.database

    def broken() -> None:
        with database.writing():
            assert database.many("INSERT INTO users VALUES (?, ?, ?)", [("a", "a", 1), ("b", "b", 2)]) == 2
            with database.writing():  # inside another one it changes nothing
                assert database.execute("UPDATE users SET created_at_ns = ? WHERE created_at_ns = ?", [9, 2]) == 1
            raise KeyError

    with pytest.raises(KeyError):
        broken()
    assert database.rows("SELECT user_id FROM users") == [("user-1",)]
    with database.snapshot(), database.snapshot():
        assert database.rows("SELECT count(*) FROM users") == [(1,)]
    database.roll_back()  # of nothing
    assert database.has_table("users") and not database.has_table("thieves") and database.problems() == []


def test_a_conflict_says_what_to_do() -> None:
    assert str(conflict("twice")) == "the account ledger was changed by another writer meanwhile: twice; repeat the transaction"
    assert placeholders("ab") == "?, ?"
