"""Records that are written in the ledger stay, once, however often they are written."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from pumpwatch.errors import StorageError
from pumpwatch.model import Gap, GapState, Listing, Notice
from pumpwatch.records import KEPT_BYTES, ConnectionEvent, Quarantined, Records
from pumpwatch.store.ledger import FILE_NAME, Ledger
from pumpwatch.store.sqlite import DamagedError

GAP = Gap(exchange="binance", market_type="spot", symbol="BTCUSDT", from_ns=10, to_ns=20, first_id=5, last_id=7,
          reason="ids jumped")
VENUE_GAP = Gap(exchange="binance", market_type="spot", from_ns=10, to_ns=20, reason="down")
EVENT = ConnectionEvent(11, "binance", "spot", 3, "down", "1006")
BAD = Quarantined(12, "binance", "spot", "no JSON", b"x" * 5000)
LISTING = Listing(source="upbit", notice_id="77", symbol="PEPE", title="t", announced_at_ns=1, detected_at_ns=2,
                  triggered_at_ns=3)
NOTICE = Notice(source="upbit", notice_id="77", title="t", category="c", published_at_ns=1, updated_at_ns=1)


def test_records_come_back_after_opening_again(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.write(Records([GAP, VENUE_GAP], [EVENT], [BAD]))
    ledger.close()
    ledger = Ledger(tmp_path)
    assert [gap for _, gap in ledger.gaps()] == [GAP, VENUE_GAP]
    assert ledger.connection_events() == [EVENT]
    assert ledger.connection_events(since_ns=12) == []
    kept, = ledger.quarantine()
    assert (kept.reason, kept.payload) == (BAD.reason, BAD.payload[:KEPT_BYTES])


def test_writing_the_same_records_again_changes_nothing(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    records = Records([GAP, VENUE_GAP], [EVENT], [BAD, BAD])
    for _ in range(3):
        ledger.write(records)
    assert len(ledger.gaps()) == 2
    assert len(ledger.connection_events()) == 1
    assert ledger.quarantine_count() == 2, "two equal frames of one sweep are two"


def test_more_records_added_before_the_second_try_are_all_stored(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    records = Records([GAP], [], [BAD])
    ledger.write(records)
    records.extend(Records([VENUE_GAP], [EVENT], [BAD]))
    ledger.write(records)
    assert (len(ledger.gaps()), ledger.quarantine_count()) == (2, 2)


def test_the_gaps_around_a_window_are_found_without_reading_all(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.write(Records([replace(GAP, from_ns=start, to_ns=start + 5) for start in range(0, 100, 10)]))
    assert [gap.from_ns for gap in ledger.gaps_between(24, 41)] == [20, 30, 40]
    assert ledger.gaps_between(25, 30) == ledger.gaps_between(105, 10**18) == []
    plan = ledger._rows("EXPLAIN QUERY PLAN SELECT * FROM gaps WHERE to_ns > ? AND from_ns < ?", (24, 41))
    assert "gaps_time" in plan[0][-1]


def test_a_gap_that_grew_is_one_gap_and_open_again(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.write(Records(gaps=[VENUE_GAP]))
    (number, _), = ledger.gaps()
    ledger.write(Records(gaps=[replace(VENUE_GAP, state=GapState.FILLED)]))
    ledger.write(Records(gaps=[VENUE_GAP]))
    assert ledger.gaps(GapState.OPEN) == []
    ledger.write(Records(gaps=[Gap(exchange="binance", market_type="spot", from_ns=10, to_ns=30,
                                   reason="down")]))
    (same, gap), = ledger.gaps(GapState.OPEN)
    assert (same, gap.to_ns) == (number, 30)


def test_gaps_are_listed_by_state(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.write(Records(gaps=[GAP, VENUE_GAP]))
    ledger.write(Records(gaps=[replace(ledger.gaps()[0][1], state=GapState.LOST)]))
    assert [gap.symbol for _, gap in ledger.gaps(GapState.OPEN)] == [""]
    assert [gap.state for _, gap in ledger.gaps(GapState.LOST)] == [GapState.LOST]


def test_a_notice_is_remembered_with_its_last_revision(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    assert ledger.seen_notices("upbit", ["77"]) == {}
    assert ledger.notice_count("upbit") == 0
    ledger.remember_notices([(NOTICE, "krw_listing", "a")])
    ledger.remember_notices([(NOTICE, "krw_listing", "b")])
    assert ledger.seen_notices("upbit", ["76", "77"]) == {"77": "b"}
    assert ledger.notice_count("upbit") == 1
    assert ledger.seen_notices("bithumb", ["77"]) == {}


def test_a_listing_is_new_once_and_unfinished_until_its_archive_is_there(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    assert ledger.remember_listing(LISTING)
    assert not ledger.remember_listing(LISTING)
    ledger.close()
    ledger = Ledger(tmp_path)
    record, = ledger.listings(unfinished_only=True)
    assert (record.listing, record.archive, record.trades) == (LISTING, "", None)
    ledger.finish_listing("upbit", "77", "PEPE", "data/PEPE_1", 12)
    assert ledger.listings(unfinished_only=True) == []
    record, = ledger.listings()
    assert (record.archive, record.trades) == ("data/PEPE_1", 12)


def test_two_threads_ledgers_write_side_by_side(tmp_path: Path) -> None:
    one, other = Ledger(tmp_path), Ledger(tmp_path)
    one.write(Records(gaps=[GAP]))
    other.write(Records(gaps=[VENUE_GAP]))
    assert len(one.gaps()) == len(other.gaps()) == 2


def test_a_gap_of_a_connection_comes_back_with_its_symbols_and_two_at_one_moment_are_two(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    one, other = replace(VENUE_GAP, symbols=("ETHUSDT", "BTCUSDT")), replace(VENUE_GAP, symbols=("XRPUSDT",))
    for _ in range(2):
        ledger.write(Records(gaps=[one, other, VENUE_GAP]))
    assert [gap for _, gap in ledger.gaps()] == ledger.gaps_between(0, 100) == [one, other, VENUE_GAP]
    ledger.write(Records(gaps=[replace(one, to_ns=50, symbols=("BTCUSDT", "ETHUSDT"))]))
    assert [gap for _, gap in ledger.gaps()] == [replace(one, to_ns=50), other, VENUE_GAP], "the same connection's grew"
    assert [gap.touches("XRPUSDT") for _, gap in ledger.gaps()] == [False, True, True]
    ledger.write(Records(gaps=[replace(one, from_ns=start) for start in range(60, 100)]))
    assert ledger._rows("SELECT count(*) FROM gap_symbols", ()) == [(2,)], "a set of symbols is stored once"


def test_reading_makes_no_file_and_says_that_an_empty_one_is_damaged(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        Ledger(tmp_path, read_only=True)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / FILE_NAME).touch()
    ledger = Ledger(tmp_path, read_only=True)
    with pytest.raises(DamagedError, match="the ledger is damaged"):
        ledger.gaps()


def test_others_cannot_read_the_ledger_with_any_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        Ledger(tmp_path / "data").write(Records(gaps=[GAP]))
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "data").iterdir()}
    assert modes == dict.fromkeys((FILE_NAME, f"{FILE_NAME}-wal", f"{FILE_NAME}-shm"), 0o640)
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o750



def test_a_full_disk_and_a_damaged_file_are_storage_errors_with_nothing_half_written(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    pages = ledger._connection.execute("PRAGMA page_count").fetchone()[0]
    ledger._connection.execute(f"PRAGMA max_page_count={pages}")
    many = [Quarantined(at, "binance", "spot", "bad", b"x" * 4000) for at in range(100)]
    with pytest.raises(StorageError, match="full"):
        ledger.write(Records([GAP], [EVENT], many))
    assert (ledger.gaps(), ledger.quarantine_count()) == ([], 0)
    ledger.close()
    (tmp_path / FILE_NAME).write_bytes(b"no database at all" * 100)
    with pytest.raises(StorageError):
        Ledger(tmp_path)


def test_a_gap_that_is_recorded_again_as_filled_is_filled(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    gap = Gap(exchange="one", market_type="spot", symbol="A", from_ns=1, to_ns=9, first_id=3, last_id=4, reason="ids jump")
    ledger.write(Records(gaps=[gap]))
    ledger.write(Records(gaps=[replace(gap, state=GapState.FILLED)]))
    ledger.write(Records(gaps=[gap]))
    assert [(one.state, one.to_ns) for _, one in ledger.gaps()] == [(GapState.FILLED, 9)]
    ledger.close()


def test_gaps_come_a_page_at_a_time_the_newest_first(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.write(Records([replace(GAP, from_ns=number, state=GapState.LOST if number % 2 else GapState.OPEN)
                          for number in range(1, 8)]))
    first = ledger.gaps_before(2**63 - 1, 3)
    assert [gap.from_ns for _, gap in first] == [7, 6, 5]
    assert [gap.from_ns for _, gap in ledger.gaps_before(first[-1][0], 3)] == [4, 3, 2]
    assert [gap.from_ns for _, gap in ledger.gaps_before(2**63 - 1, 2, GapState.LOST, "binance")] == [7, 5]
    assert ledger.gaps_before(2**63 - 1, 9, None, "okx") == []
    ledger.close()
