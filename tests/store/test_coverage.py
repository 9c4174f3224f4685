"""The ledger of minutes: figures add up over writes and restarts, hours thin out, and what was watched is known."""

from __future__ import annotations

from pathlib import Path

import pytest

from pumpwatch.catalogue import Catalogue
from pumpwatch.errors import StorageError
from pumpwatch.store.coverage import COUNTS_KEPT_HOURS, FILE_NAME, HOUR_NS, SUMS_KEPT_HOURS, CoverageFile, set_aside
from pumpwatch.store.id_runs import IdRuns, runs_of
from pumpwatch.store.minutes import MINUTE_NS, minutes_of
from pumpwatch.store.sqlite import DamagedError, connect
from tests.trades import batch_of, catalogue_of

START_NS = 498_000 * HOUR_NS
SPOT, FUTURES = ("binance", "spot"), ("binance", "futures")


@pytest.fixture
def file(tmp_path: Path) -> CoverageFile:
    return CoverageFile(tmp_path)


def add(file: CoverageFile, rows: int, first_id: int, upto_id: int, start_ns: int = START_NS) -> None:
    batch = batch_of(rows, first_id=first_id, start_ns=start_ns, step_ns=MINUTE_NS // 4)
    file.add(minutes_of(batch), runs_of(batch.instrument, batch.trade_id, batch.timestamp), catalogue_of(), upto_id)


def trades(file: CoverageFile, start_ns: int = 0, end_ns: int = 2**62, **options) -> int:
    return int(file.read(start_ns, end_ns, Catalogue(), **options).minutes.trades.sum())


def test_figures_add_up_over_writes_and_restarts(file: CoverageFile, tmp_path: Path) -> None:
    add(file, 1000, 1, 5)
    file.close()
    again = CoverageFile(tmp_path)
    assert (again.counted_upto, trades(again)) == (5, 1000)
    add(again, 500, 1001, 9)
    assert (again.counted_upto, trades(again)) == (9, 1500)
    assert 0 < trades(again, START_NS, START_NS + HOUR_NS) < 1500
    assert 0 < trades(again, venues=[SPOT]) < 1500 and trades(again, venues=[("okx", "spot")]) == 0


def test_what_fails_halfway_is_not_counted_at_all(file: CoverageFile) -> None:
    add(file, 10, 1, 1)
    batch = batch_of(10, start_ns=START_NS)
    with pytest.raises((IndexError, KeyError)):  # an instrument that the catalogue lacks
        file.add(minutes_of(batch), IdRuns.empty(), Catalogue(), 2)
    assert (file.counted_upto, trades(file)) == (1, 10)


def test_old_hours_keep_their_counts_and_go_in_the_end(file: CoverageFile) -> None:
    add(file, 100, 1, 1)
    file.thin(START_NS + (SUMS_KEPT_HOURS + 2) * HOUR_NS)
    found = file.read(0, 2**62, Catalogue())
    assert found.thin and int(found.minutes.trades.sum()) == 100 and len(found.runs) == 0
    add(file, 7, 101, 2)
    assert trades(file) == 107
    file.thin(START_NS + (COUNTS_KEPT_HOURS + 2) * HOUR_NS)
    assert trades(file) == 0


def test_what_is_watched_is_known_from_when_on(file: CoverageFile) -> None:
    file.watch(SPOT, frozenset({"A", "B"}), 100)
    file.watch(SPOT, frozenset({"A"}), 200)
    file.watch(FUTURES, frozenset({"A", "B"}), 150)
    assert [(watched.market_type, watched.from_ns, sorted(watched.symbols)) for watched in file.watched()] == [
        ("futures", 150, ["A", "B"]), ("spot", 100, ["A", "B"]), ("spot", 200, ["A"])]
    file.thin(COUNTS_KEPT_HOURS * 2 * HOUR_NS)
    assert [(watched.market_type, watched.from_ns) for watched in file.watched()] == [("futures", 150), ("spot", 200)]


def test_another_journal_begins_again_and_leaves_the_hours_before_it(file: CoverageFile) -> None:
    add(file, 10, 1, 8)
    add(file, 10, 1, 9, START_NS + 5 * HOUR_NS)
    file.begin_again(START_NS + HOUR_NS)
    assert (file.counted_upto, trades(file)) == (0, 10)


def test_a_folder_without_the_file_reads_as_empty_and_gets_none(tmp_path: Path) -> None:
    file = CoverageFile(tmp_path / "absent", read_only=True)
    assert (file.counted_upto, trades(file), file.watched()) == (0, 0, [])
    assert not (tmp_path / "absent").exists()


def test_a_damaged_file_says_so_and_is_set_aside(file: CoverageFile, tmp_path: Path) -> None:
    add(file, 10, 1, 1)
    file.close()
    (tmp_path / FILE_NAME).write_bytes(b"not a database" * 1000)
    with pytest.raises(DamagedError, match="ledger of minutes is damaged"):
        CoverageFile(tmp_path)
    assert set_aside(tmp_path, 7).name == "coverage.sqlite.damaged-7"
    assert trades(CoverageFile(tmp_path)) == 0


def test_an_hour_that_cannot_be_read_is_damage(file: CoverageFile, tmp_path: Path) -> None:
    add(file, 10, 1, 1)
    connection = connect(tmp_path / FILE_NAME)
    connection.execute("UPDATE hours SET counts = x'0102'")
    connection.close()
    with pytest.raises(DamagedError, match="damaged"):
        file.read(0, 2**62, Catalogue())


def test_a_file_of_a_newer_version_is_left_alone(file: CoverageFile, tmp_path: Path) -> None:
    file.close()
    connection = connect(tmp_path / FILE_NAME)
    connection.execute("INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('coverage', 'later', 'now')")
    connection.close()
    with pytest.raises(StorageError, match="newer pumpwatch"):
        CoverageFile(tmp_path)
