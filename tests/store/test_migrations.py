"""A ledger of an older version is brought up to date, and one of a newer version is refused."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from sqlite_utils import Database, Migrations

from pumpwatch.errors import EXIT_DISK, StorageError
from pumpwatch.model import Gap
from pumpwatch.records import Records
from pumpwatch.store.ledger import FILE_NAME, Ledger
from pumpwatch.store.migrations import migrations

VENUE_GAP = Gap(exchange="binance", market_type="spot", from_ns=10, to_ns=20, reason="down")


def old_ledger(folder: Path) -> None:
    """Make a ledger as the version before connections' symbols made it, with a gap, and with a notice in it."""
    db = Database(folder / FILE_NAME)
    migrations.apply(db, stop_before="gaps_of_connections")
    db.execute("INSERT INTO gaps (exchange, market_type, symbol, from_ns, to_ns, reason, state, note)"
               " VALUES ('binance', 'spot', '', 10, 20, 'down', 'open', '')")
    db.execute("INSERT INTO notices (source, notice_id, revision) VALUES ('upbit', '77', 'a')")
    db.conn.commit()
    db.close()


def test_a_ledger_of_the_version_before_is_read_as_it_is_and_brought_up_to_date(tmp_path: Path) -> None:
    old_ledger(tmp_path)
    reading = Ledger(tmp_path, read_only=True)
    assert [gap for _, gap in reading.gaps()] == [VENUE_GAP]
    reading.close()
    ledger = Ledger(tmp_path)
    assert not ledger.is_new
    assert [gap for _, gap in ledger.gaps()] == [VENUE_GAP]
    ledger.write(Records(gaps=[VENUE_GAP, replace(VENUE_GAP, symbols=("A",))]))
    assert [gap.symbols for _, gap in ledger.gaps()] == [(), ("A",)]
    assert ledger.seen_notices("upbit", ["77"]) == {"77": "a"}
    assert len(ledger.identity()) == 16


def test_a_newer_ledger_is_refused(tmp_path: Path) -> None:
    Ledger(tmp_path).close()
    later = Migrations("ledger")

    @later()
    def of_the_future(db: Database) -> None:
        db.execute("SELECT 1")

    later.apply(Database(sqlite3.connect(tmp_path / FILE_NAME)))
    with pytest.raises(StorageError, match="of_the_future") as refused:
        Ledger(tmp_path)
    assert refused.value.exit_code == EXIT_DISK


def test_listings_that_came_from_the_inbox_are_drills(tmp_path: Path) -> None:
    db = Database(tmp_path / FILE_NAME)
    migrations.apply(db, stop_before="drills")
    for source in ("fake", "upbit"):
        db.execute("INSERT INTO listings VALUES (?, '1', 'PEPE', 't', 1, 2, 3, 0, '', NULL, '', '', 'notice')", [source])
    db.conn.commit()
    db.close()
    old = Ledger(tmp_path, read_only=True)
    assert [record.listing.drill for record in old.listings()] == [False, False]
    old.close()
    ledger = Ledger(tmp_path)
    assert {record.listing.source: record.listing.drill for record in ledger.listings()} == {"fake": True, "upbit": False}
    ledger.close()
