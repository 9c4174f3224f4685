"""Committed trades stay, come back in order, and leave only when nobody needs them."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_S, FakeClock
from pumpwatch.errors import EXIT_DISK, StorageError
from pumpwatch.model import Gap, Instrument, TradeBatch
from pumpwatch.records import Records
from pumpwatch.stats import Stats
from pumpwatch.store import journal as journal_module
from pumpwatch.store.journal import Journal, JournalReader
from pumpwatch.store.sqlite import check_of
from tests.trades import batch_of, catalogue_of

START_NS = 1_790_000_000 * NS_PER_S


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(START_NS)


@pytest.fixture
def journal(tmp_path: Path, clock: FakeClock) -> Iterator[Journal]:
    one = Journal(tmp_path, catalogue_of(), clock, Stats())
    one.open()
    yield one
    one.close()


def again(folder: Path, clock: FakeClock, catalogue: Catalogue | None = None) -> Journal:
    return Journal(folder, catalogue or catalogue_of(), clock, Stats())


def ids_of(batches: list[tuple[int, TradeBatch]]) -> list[int]:
    return sorted(int(number) for _, batch in batches for number in batch.trade_id)


def test_committed_batches_come_back_with_ascending_ids(journal: Journal) -> None:
    numbers = [journal.commit(TradeBatch.concat([batch_of(100, first_id=k * 200), batch_of(100, first_id=k * 200 + 100)]))
               for k in range(5)]
    found = journal.read_after(0, 10**9)
    assert [number for number, _ in found] == numbers == sorted(numbers)
    assert ids_of(found) == list(range(1000))


def test_a_commit_without_trades_stores_its_records_and_no_batch(journal: Journal) -> None:
    gap = Gap(exchange="binance", market_type="spot", symbol="C0USDT", from_ns=1, to_ns=2, reason="down")
    journal.record(Records(gaps=[gap]))
    assert journal.commit(TradeBatch.empty()) == journal.commit(TradeBatch.empty()) == 0
    assert [one for _, one in journal.ledger.gaps()] == [gap]
    assert journal.read_after(0, 1) == []


def test_a_big_commit_is_cut_into_several_batches_of_one_transaction(journal: Journal) -> None:
    last = journal.commit(batch_of(10_000, instruments=8))
    found = journal.read_after(0, 10**9)
    assert len(found) > 1
    assert found[-1][0] == last
    assert ids_of(found) == list(range(1, 10_001))


def test_reading_after_an_id_gives_about_as_much_as_was_asked_for(journal: Journal) -> None:
    for k in range(10):
        journal.commit(batch_of(100, first_id=k * 100))
    first = journal.read_after(3, 150)
    assert [number for number, _ in first] == [4, 5]
    assert [number for number, _ in journal.read_after(9, 1)] == [10]
    assert journal.read_after(10, 1) == []


def test_a_query_gives_the_instruments_and_times_asked_for_in_order(journal: Journal) -> None:
    trades = batch_of(5000, instruments=8, start_ns=START_NS, step_ns=1_000_000)
    shuffled = trades.take(np.random.default_rng(3).permutation(len(trades)))
    for k in range(0, 5000, 500):
        journal.commit(shuffled.take(slice(k, k + 500)))
    names = [("binance", "spot", "C1USDT"), ("binance", "futures", "C2USDT"), ("nobody", "spot", "C1USDT")]
    start, end = START_NS + NS_PER_S, START_NS + 3 * NS_PER_S
    found = journal.query(names, start, end)
    wanted = np.isin(trades.instrument, [2, 5]) & (trades.timestamp >= start) & (trades.timestamp < end)
    assert found.trade_id.tolist() == trades.trade_id[wanted].tolist()
    assert found.price.tobytes() == trades.price[wanted].tobytes()
    assert len(journal.query(names, 0, START_NS)) == 0


def test_late_trades_are_found_in_any_batch(journal: Journal) -> None:
    old = batch_of(3, start_ns=START_NS - 3_000 * NS_PER_S, instruments=1)
    journal.commit(TradeBatch.concat([batch_of(50, start_ns=START_NS), old]))
    journal.commit(batch_of(50, start_ns=START_NS + NS_PER_S))
    found = journal.query([("binance", "spot", "C0USDT")], START_NS - 3_001 * NS_PER_S, START_NS - 2_000 * NS_PER_S)
    assert found.timestamp.tolist() == old.timestamp.tolist()


def test_a_new_run_takes_up_ids_watermarks_and_where_every_symbol_had_come_to(tmp_path: Path, clock: FakeClock) -> None:
    journal = again(tmp_path, clock)
    assert journal.open().last_received_at_ns == 0
    journal.commit(batch_of(100, instruments=2, first_id=500, start_ns=START_NS))
    last = journal.commit(batch_of(100, instruments=2, first_id=100, start_ns=START_NS - NS_PER_S))
    journal.acknowledge("questdb", 1)
    journal.close()

    catalogue = Catalogue()
    catalogue.add(("other", "spot"), Instrument(symbol="X", base="X", quote="USDT"))  # the numbers differ now
    journal = again(tmp_path, clock, catalogue)
    recovery = journal.open()
    assert recovery.clean
    assert recovery.last_batch_id == last
    assert recovery.last_received_at_ns == START_NS - NS_PER_S + 99 * 200_000 + 3_000_000, "of what was stored last"
    batch = batch_of(100, instruments=2, first_id=500, start_ns=START_NS)
    for number, name in enumerate([("binance", "spot", "C0USDT"), ("binance", "futures", "C0USDT")]):
        rows = batch.instrument == number
        assert recovery.last_ids[name] == (batch.trade_id[rows].max(), batch.timestamp[rows].max())
    assert journal.acknowledged("questdb") == 1
    assert journal.backlog("questdb") == 100
    (_, found), = journal.read_after(1, 10**9)
    assert set(catalogue.names(found.instrument)) == {("binance", "spot", "C0USDT"), ("binance", "futures", "C0USDT")}
    assert journal.commit(batch_of(5, instruments=1)) == last + 1
    journal.close()


def test_symbols_that_a_run_never_saw_keep_their_last_id_for_the_one_after(tmp_path: Path, clock: FakeClock) -> None:
    for number in range(3):
        journal = again(tmp_path, clock)
        recovery = journal.open()
        if number == 2:
            assert recovery.last_ids[("binance", "spot", "C0USDT")][0] == 7
            assert recovery.last_ids[("binance", "spot", "C1USDT")][0] == 9
        batch = batch_of(1, first_id=(7, 9, 11)[number], instruments=1)
        batch.instrument[:] = (0, 2, 4)[number]
        journal.commit(batch)
        journal.close()


def test_the_last_ids_are_right_after_a_crash_between_two_of_their_storings(tmp_path: Path, clock: FakeClock) -> None:
    journal = again(tmp_path, clock)
    journal.open()
    for k in range(5):
        journal.commit(batch_of(10, first_id=k * 10, instruments=1))
        clock.advance(journal_module.LAST_IDS_S * 0.4)
    crash(journal)
    recovery = again(tmp_path, clock).open()
    assert recovery.last_ids[("binance", "spot", "C0USDT")][0] == 49
    assert not recovery.clean


def crash(journal: Journal) -> None:
    """Let go of everything as a killed process does: nothing is written."""
    os.close(journal._lock_handle)
    journal._lock_handle = -1


def test_a_second_process_on_the_folder_fails_with_the_pid_of_the_first(journal: Journal, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=f"pid {os.getpid()}") as refused:
        again(tmp_path, FakeClock()).open()
    assert refused.value.exit_code == EXIT_DISK
    assert refused.value.hint


def test_the_folder_is_free_after_close(tmp_path: Path, clock: FakeClock) -> None:
    for _ in range(2):
        journal = again(tmp_path, clock)
        journal.open()
        journal.commit(batch_of(3))
        journal.close()


def test_an_hour_is_a_file_and_a_closed_file_stands_alone(journal: Journal, tmp_path: Path, clock: FakeClock) -> None:
    journal.commit(batch_of(100, first_id=0))
    clock.advance(3600)
    journal.commit(batch_of(100, first_id=100))
    journal.close()
    files = sorted(path.name for path in (tmp_path / "journal").iterdir())
    assert len(files) == 2
    assert all(name.endswith("-000.sqlite") for name in files)
    reader = JournalReader(tmp_path, catalogue_of())
    assert len(reader.query([("binance", "spot", "C0USDT")], 0, 2**62)) > 0
    journal.open()
    assert ids_of(journal.read_after(0, 10**9)) == list(range(200))


def test_a_file_that_has_grown_large_is_followed_by_another_of_the_same_hour(tmp_path: Path, clock: FakeClock) -> None:
    journal = Journal(tmp_path, catalogue_of(), clock, Stats(), segment_bytes=20_000)
    journal.open()
    for k in range(10):
        journal.commit(batch_of(500, first_id=k * 500))
    assert len(list((tmp_path / "journal").glob("*.sqlite"))) > 2
    assert ids_of(journal.read_after(0, 10**9)) == list(range(5000))
    journal.close()


def test_a_reader_beside_the_running_journal_sees_commits_and_does_not_hold_it_up(
        journal: Journal, tmp_path: Path) -> None:
    catalogue = Catalogue()
    reader = JournalReader(tmp_path, catalogue)
    for k in range(3):
        journal.commit(batch_of(10, first_id=k * 10, instruments=1))
        reader.load_instruments()
        found = reader.query([("binance", "spot", "C0USDT")], 0, 2**62)
        assert sorted(found.trade_id.tolist()) == list(range(k * 10 + 10))
        assert catalogue.matching("C0") == [0]
        journal.maintain()
    assert reader.unreadable == []


def test_a_reader_with_a_half_read_result_keeps_no_commit_from_happening(journal: Journal, tmp_path: Path) -> None:
    for k in range(50):
        journal.commit(batch_of(100, first_id=k * 100))
    connection = sqlite3.connect(next((tmp_path / "journal").glob("*.sqlite")))
    cursor = connection.execute("SELECT body FROM batches")
    cursor.fetchone()
    for k in range(50, 100):
        journal.commit(batch_of(100, first_id=k * 100))
    connection.close()
    assert ids_of(journal.read_after(0, 10**9)) == list(range(10_000))


def test_the_backlog_of_a_sink_counts_trades_over_files_and_runs(tmp_path: Path, clock: FakeClock) -> None:
    journal = again(tmp_path, clock)
    journal.open()
    numbers = []
    for k in range(6):
        numbers.append(journal.commit(batch_of(100 + k)))
        clock.advance(1800)
    total = sum(100 + k for k in range(6))
    for run in range(2):
        for k, number in enumerate(numbers):
            journal.watermarks.go_back("questdb", 0)
            journal.acknowledge("questdb", number)
            assert journal.backlog("questdb") == total - sum(100 + i for i in range(k + 1)), f"run {run}"
        assert journal.backlog("another") == total
        journal.close()
        journal = again(tmp_path, clock)
        journal.open()
    journal.close()


def test_a_watermark_is_stored_with_a_commit_or_when_idle_or_by_close(tmp_path: Path, clock: FakeClock) -> None:
    def stored() -> int:
        reader = again(tmp_path, clock)
        reader.open()
        number = reader.acknowledged("questdb")
        crash(reader)
        return number

    journal = again(tmp_path, clock)
    journal.open()
    journal.commit(batch_of(10))
    journal.acknowledge("questdb", 1)
    journal.commit(batch_of(10))
    crash(journal)
    assert stored() == 1
    journal = again(tmp_path, clock)
    journal.open()
    journal.acknowledge("questdb", 2)
    journal.acknowledge("questdb", 1)  # never back
    clock.advance(journal_module.IDLE_S + 1)
    journal.maintain()
    crash(journal)
    assert stored() == 2
    journal = again(tmp_path, clock)
    journal.open()
    journal.acknowledge("questdb", 3)
    journal.close()
    assert stored() == 3


def test_expiry_unlinks_old_files_that_every_sink_has_and_never_the_newest(tmp_path: Path, clock: FakeClock) -> None:
    journal = again(tmp_path, clock)
    journal.open()
    for k in range(4):
        start_ns = clock.now_ns()
        journal.commit(batch_of(100, first_id=k * 100, start_ns=start_ns))
        clock.advance(3600)
    now_ns = clock.now_ns()
    assert journal.expire(now_ns, 10**12, ["questdb"]) == []
    journal.acknowledge("questdb", 2)
    journal.acknowledge("other", 1)
    assert len(journal.expire(now_ns, 10**12, ["questdb", "other"])) == 1
    assert journal.expire(now_ns - 100_000 * NS_PER_S, 10**12, ["questdb"]) == []
    assert len(journal.expire(now_ns, 10**12, ["questdb"])) == 1
    assert len(journal.expire(now_ns, 10**12, [])) == 1, "no sink: by age, and the newest stays"
    assert ids_of(journal.read_after(0, 10**9)) == list(range(300, 400))
    journal.close()
    journal = again(tmp_path, clock)
    journal.open()
    assert journal.expire(now_ns + 10**15, 0, []) == [], "a start after a long pause still knows the ids"
    journal.close()


def test_expiry_by_size_takes_the_oldest_until_the_rest_fits(tmp_path: Path, clock: FakeClock) -> None:
    journal = again(tmp_path, clock)
    journal.open()
    for k in range(5):
        journal.commit(batch_of(3000, first_id=k * 3000))
        clock.advance(3600)
    names = sorted(path for path in (tmp_path / "journal").glob("*.sqlite"))
    limit = journal.size_bytes() - names[0].stat().st_size - 1
    assert [one.path for one in journal.expire(0, limit, [])] == names[:2]
    assert journal.size_bytes() <= limit
    assert journal.query([("binance", "spot", "C0USDT")], 0, 2**62).trade_id.min() >= 6000
    journal.close()


def test_a_file_of_a_newer_version_is_refused_with_a_hint(tmp_path: Path, clock: FakeClock) -> None:
    journal = again(tmp_path, clock)
    journal.open()
    journal.commit(batch_of(3))
    journal.close()
    with sqlite3.connect(next((tmp_path / "journal").glob("*.sqlite"))) as connection:
        meta = dict(connection.execute("SELECT key, value FROM meta")) | {"schema": 2}
        del meta["checksum"]
        meta["checksum"] = check_of(*sorted(meta.items()))
        connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", meta.items())
    with pytest.raises(StorageError, match="newer pumpwatch"):
        again(tmp_path, clock).open()


def test_text_ids_and_flags_survive(journal: Journal) -> None:
    plain = batch_of(4, instruments=1)
    text = replace(plain, text_id=np.array([b"a-1", b"", b"c" * 36, b"d"]), flags=np.array([1, 0, 255, 3], np.uint8))
    journal.commit(TradeBatch.concat([text, plain]))
    (_, found), = journal.read_after(0, 10)
    assert found.id_texts() == ["a-1", "2", "c" * 36, "d", "1", "2", "3", "4"]
    assert found.flags.tolist() == [1, 0, 255, 3, 0, 0, 0, 0]


@settings(max_examples=10)
@given(st.lists(st.sampled_from(["commit", "commit", "hour", "crash", "close", "read", "expire"]), max_size=25))
def test_no_order_of_events_loses_or_doubles_a_trade(
        tmp_path_factory: pytest.TempPathFactory, events: list[str]) -> None:
    folder = tmp_path_factory.mktemp("journal")
    clock = FakeClock(START_NS)
    journal = again(folder, clock)
    journal.open()
    stored = removed = 0
    for event in [*events, "crash", "read"]:
        if event == "commit":
            journal.commit(batch_of(30, first_id=stored, start_ns=clock.now_ns()))
            stored += 30
        elif event == "hour":
            clock.advance(3600)
        elif event in ("crash", "close"):
            crash(journal) if event == "crash" else journal.close()
            journal = again(folder, clock)
            assert journal.open().last_batch_id == stored // 30
        elif event == "expire":
            journal.expire(clock.now_ns() + 10**15, 0, [])
            kept = journal.read_after(0, 10**9)
            removed = min(ids_of(kept), default=stored)
        found = journal.read_after(0, 10**9)
        assert ids_of(found) == list(range(removed, stored))
        assert [number for number, _ in found] == sorted({number for number, _ in found})
    journal.close()


def test_a_data_folder_that_cannot_be_one_says_which_key_to_set(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where the folder should be")
    with pytest.raises(StorageError) as caught:
        again(tmp_path / "data", FakeClock(START_NS)).open()
    assert "set store.dir" in caught.value.hint
