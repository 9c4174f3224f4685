"""The readable rows of a damaged ledger are in the new one."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from pumpwatch.store.ledger import FILE_NAME, Ledger
from pumpwatch.store.salvage import TABLES, salvage_file
from tests.store.filled_ledger import (
    GAPS,
    LISTINGS,
    NOTICES,
    damage,
    opened,
    reasons,
)


def test_what_is_readable_is_kept_and_known_listings_are_not_announced_again(folder: Path) -> None:
    with sqlite3.connect(folder / FILE_NAME) as file:
        page = file.execute("SELECT rootpage FROM sqlite_master WHERE name = 'connection_events'").fetchone()[0]
    damage(folder / FILE_NAME, page - 1)
    ledger = opened(folder)
    assert ledger.connection_events() == []
    assert [gap for _, gap in ledger.gaps()] == GAPS and reasons(ledger) == set()
    assert not ledger.remember_listing(LISTINGS[7]) and len(ledger.listings()) == len(LISTINGS)
    assert ledger.notice_count("upbit") == len(NOTICES) and ledger.quarantine_count() == 20
    ledger.close()


def test_after_notices_were_lost_the_first_look_at_each_source_seeds_once(folder: Path) -> None:
    with sqlite3.connect(folder / FILE_NAME) as file:
        page = file.execute("SELECT rootpage FROM sqlite_master WHERE name = 'notices'").fetchone()[0]
    damage(folder / FILE_NAME, page - 1)
    ledger = opened(folder)
    ledger.seen_notices("upbit", ["5"])
    ledger.remember_notices([(NOTICES[5], "other", "a")])
    ledger.close()
    ledger = opened(folder)
    for _ in range(2):  # a look that fails asks again
        assert ledger.notice_count("upbit") == ledger.notice_count("bithumb") == 0
    ledger.first_look_done("upbit")
    assert ledger.notice_count("upbit") == 1 and ledger.notice_count("bithumb") == 0
    ledger.close()


def test_a_file_that_is_not_a_database_leaves_every_table_broken(folder: Path, tmp_path: Path) -> None:
    (garbage := tmp_path / "garbage").write_bytes(b"no database" * 100)
    target = Ledger(tmp_path / "new")
    kept = salvage_file(garbage, target._connection)  # type: ignore[arg-type]
    assert kept.broken == set(TABLES) and sum(kept.rows.values()) == 0
    target.close()


def test_a_sound_file_is_copied_whole_and_rows_that_exist_stay(folder: Path, tmp_path: Path) -> None:
    target = Ledger(tmp_path / "new")
    for _ in range(2):
        kept = salvage_file(folder / FILE_NAME, target._connection)  # type: ignore[arg-type]
    assert kept.broken == set() and str(kept) == "listings=0 notices=0 gaps=0 connection_events=0 quarantine=0"
    assert [gap for _, gap in target.gaps()] == GAPS and len(target.listings()) == len(LISTINGS)
    target.close()
