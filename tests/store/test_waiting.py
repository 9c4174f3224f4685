"""Records that the ledger refuses survive in a file, whole or not at all."""

from __future__ import annotations

import shutil
import threading
from dataclasses import replace
from pathlib import Path

import gevent
import pytest
from gevent.threadpool import ThreadPool

from pumpwatch.clock import FakeClock
from pumpwatch.errors import StorageError
from pumpwatch.model import Gap
from pumpwatch.records import Quarantined, Records
from pumpwatch.stats import Stats
from pumpwatch.store import lasting
from pumpwatch.store.committer import Committer
from pumpwatch.store.ledger import FILE_NAME
from pumpwatch.store.recorder import Recorder
from pumpwatch.store.waiting import WAITING_NAME, WaitingFile, waiting_gaps
from tests.store.filled_ledger import GAPS, START_NS, journal_of, locked
from tests.trades import batch_of, catalogue_of

GAP = Gap(exchange="a", market_type="spot", from_ns=1, to_ns=2, reason="down")
RECORDS = Records(gaps=[GAP], quarantine=[Quarantined(1, "a", "spot", "no JSON", b"\xff")])


def test_what_is_kept_is_loaded_by_the_next_run_and_forgotten_when_written(tmp_path: Path) -> None:
    file = WaitingFile(tmp_path)
    assert file.keep(lambda: [Records(gaps=[GAP]), Records(), Records(quarantine=RECORDS.quarantine)])
    again = WaitingFile(tmp_path)
    assert again.load() == RECORDS and waiting_gaps(tmp_path) == [GAP]
    assert again.keep(list)
    assert WaitingFile(tmp_path).load() is None


def test_what_the_file_has_already_is_not_written_again(tmp_path: Path) -> None:
    file = WaitingFile(tmp_path)
    parts = [RECORDS, Records(gaps=[GAP])]
    assert file.keep(lambda: parts)
    file.path.write_bytes(b"{")
    assert file.keep(lambda: [Records(), *parts]) and file.path.read_bytes() == b"{"
    assert file.keep(lambda: parts[:1]) and WaitingFile(tmp_path).load() == RECORDS


def test_after_its_end_it_changes_no_more(tmp_path: Path) -> None:
    file = WaitingFile(tmp_path)
    assert file.end([Records(), RECORDS])
    assert not file.keep(lambda: [Records(gaps=[GAP])]) and not file.keep(list)
    assert WaitingFile(tmp_path).load() == RECORDS
    assert not WaitingFile(tmp_path / "other").end([Records()])


def test_a_damaged_file_is_a_value_error_and_names_no_gap(tmp_path: Path) -> None:
    (tmp_path / WAITING_NAME).write_bytes(b"{")
    with pytest.raises(ValueError, match="truncated"):
        WaitingFile(tmp_path).load()
    assert waiting_gaps(tmp_path) == []


def test_a_full_disk_is_logged_once_and_is_an_error_at_the_end(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = WaitingFile(tmp_path / "gone")
    for _ in range(3):
        assert not file.keep(lambda: [RECORDS])
    assert caplog.text.count("in memory only") == 1
    with pytest.raises(StorageError):
        file.end([RECORDS])


def test_a_record_that_cannot_be_encoded_is_left_out_and_the_others_are_not(tmp_path: Path) -> None:
    odd = Quarantined(1, "a", "spot", "\ud800", b"")
    WaitingFile(tmp_path).keep(lambda: [Records(gaps=[GAP], quarantine=[odd])])
    assert WaitingFile(tmp_path).load() == Records(gaps=[GAP])

@pytest.mark.parametrize("hangs", [False, True])
def test_a_gap_that_trades_have_overtaken_is_known_after_a_kill(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                                hangs: bool) -> None:
    monkeypatch.setattr(lasting, "BUSY_MS", 20)
    journal, stats, thread = journal_of(folder), Stats(), ThreadPool(1)
    thread.apply(journal.open)
    one = Committer(journal, thread, Recorder(journal.record, stats, journal.keep), catalogue_of(), FakeClock(START_NS), stats,
                    10**6, lambda number, batch: None)
    running, release = gevent.spawn(one.run), threading.Event()

    def hold() -> None:
        with journal.ledger._lock:
            release.wait(20)

    with locked(folder / FILE_NAME):
        if hangs:
            holding = ThreadPool(1).spawn(hold)
        for number in range(3):
            one.put(batch_of(10, first_id=1000 + 10 * number), Records(gaps=[replace(GAPS[0], symbol=f"CUT{number}")]))
            assert one.wait_durable(20.0)
            killed = Path(shutil.copytree(folder, tmp_path / str(number)))  # as a kill would leave it
            (killed / FILE_NAME).with_name(f"{FILE_NAME}-shm").unlink(missing_ok=True)
            after = journal_of(killed)
            after.open()
            assert {f"CUT{known}" for known in range(number + 1)} <= {gap.symbol for _, gap in after.ledger.gaps()}
            assert after.side_reader().query(("binance", "spot", "C0USDT"), 0, 2**62) is not None
            after.close()
        release.set()
    if hangs:
        holding.get()
    one.stop()
    running.join(5)
    assert {"CUT0", "CUT1", "CUT2"} <= {gap.symbol for _, gap in journal.ledger.gaps()}
    thread.apply(journal.close)
    assert waiting_gaps(folder) == []
