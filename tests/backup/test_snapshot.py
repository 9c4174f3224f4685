"""A snapshot is one moment of ledger and journal, whatever is written meanwhile."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from pumpwatch.backup.snapshot import snapshot
from pumpwatch.clock import FakeClock
from pumpwatch.errors import StorageError
from pumpwatch.records import Records
from pumpwatch.stats import Stats
from pumpwatch.store.journal import Journal
from pumpwatch.store.ledger import Ledger
from pumpwatch.store.segment import read_segment
from tests.ops.data_folder import GAP
from tests.trades import batch_of, catalogue_of


def journal_in(folder: Path) -> Journal:
    journal = Journal(folder, catalogue_of(), FakeClock(), Stats())
    journal.open()
    return journal


def test_what_is_written_after_the_moment_is_in_neither_ledger_nor_journal(tmp_path: Path) -> None:
    journal = journal_in(tmp_path / "data")
    journal.commit(batch_of(1000))
    with snapshot(tmp_path / "data") as held:
        journal.record(Records(gaps=[GAP]))
        journal.commit(batch_of(1000, first_id=1001))
        copies = {one.name: tmp_path / "copy" / one.name for one in held.files}
        for one in held.files:
            assert one.connection is not None, "an open segment is copied by SQLite"
            copies[one.name].parent.mkdir(parents=True, exist_ok=True)
            one.copy(copies[one.name], lambda count: None)
    journal.close()
    segment = next(path for name, path in copies.items() if name.startswith("journal/"))
    assert read_segment(segment).trades == 1000
    ledger = Ledger(tmp_path / "copy", read_only=True)
    assert ledger.gaps() == []
    ledger.close()


def test_a_gap_is_there_wherever_the_trades_after_it_are(tmp_path: Path) -> None:
    """Each round records a gap, then commits a batch: no snapshot may have more batches than gaps."""
    journal, done = journal_in(tmp_path / "data"), threading.Event()

    def write() -> None:
        number = 0
        while not done.is_set():
            number += 1
            ledger.write(Records(gaps=[gap_of(number)]))
            journal.commit(batch_of(50, first_id=1 + 50 * number))

    ledger = Ledger(tmp_path / "data")
    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(5):
            with snapshot(tmp_path / "data") as held:
                by_name = {one.name: one.connection for one in held.files}
                gaps = by_name["ledger.sqlite"].execute("SELECT count(*) FROM gaps").fetchone()[0]  # type: ignore[union-attr]
                batches = sum(connection.execute("SELECT count(*) FROM batches").fetchone()[0]
                              for name, connection in by_name.items() if name.startswith("journal/") and connection)
                assert batches in (gaps, gaps - 1)
    finally:
        done.set()
        writer.join()
        ledger.close()
        journal.close()


def gap_of(number: int) -> object:
    from dataclasses import replace

    return replace(GAP, from_ns=number * 10, to_ns=number * 10 + 5, first_id=number * 10, last_id=number * 10 + 1)


def test_closed_segments_are_read_as_they_are_and_records_that_wait_are_kept(tmp_path: Path) -> None:
    journal = journal_in(tmp_path / "data")
    journal.commit(batch_of(1000))
    journal.close()
    (tmp_path / "data" / "ledger.waiting.json").write_bytes(b"[]")
    with snapshot(tmp_path / "data") as held:
        assert [one.connection is None for one in held.files if one.name.startswith("journal/")] == [True]
        assert held.waiting == b"[]"


def test_a_folder_without_a_ledger_holds_nothing(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="nothing is stored in this folder"), snapshot(tmp_path):
        pass
