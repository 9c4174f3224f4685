"""A real QuestDB is backed up by its files, from which a server starts again, or as Parquet; a checkpoint never stays behind."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pyarrow.parquet
import pytest

from pumpwatch.backup.make import make
from pumpwatch.backup.manifest import Manifest
from pumpwatch.backup.places import manifests_of
from pumpwatch.backup.plan import BackupPlan, QuestDBSource
from pumpwatch.backup.questdb import MARKER, QuestDB, checkpoint
from pumpwatch.backup.restore import restore
from pumpwatch.backup.shelf import FolderShelf
from pumpwatch.errors import ServiceUnavailable
from tests.questdb_server import QuestDBServer

DDL = ("CREATE TABLE {} (timestamp TIMESTAMP_NS, symbol SYMBOL, price DOUBLE, trade_id VARCHAR) TIMESTAMP(timestamp)"
       " PARTITION BY DAY WAL DEDUP UPSERT KEYS(timestamp, symbol, trade_id)")
ROWS = ("INSERT INTO {} SELECT timestamp_sequence('2026-11-2{}T20:00:00'::timestamp_ns, 20_000_000L), 'BTCUSDT', x * 0.5,"
        " x::varchar FROM long_sequence({})")
IN_PROGRESS = "SELECT in_progress FROM checkpoint_status()"


def fill(server: QuestDBServer, table: str, day: int, rows: int, wanted: int) -> None:
    server.sql(ROWS.format(table, day, rows))
    assert server.await_count(wanted, table) == wanted


def newest(plan: BackupPlan) -> tuple[FolderShelf, Manifest]:
    shelf = FolderShelf(Path(plan.folder))
    return shelf, manifests_of(shelf, "")[0]


def test_a_server_started_on_restored_files_has_every_row(plan: BackupPlan, questdb_server: QuestDBServer,
                                                          tmp_path: Path) -> None:
    questdb_server.sql(DDL.format("f_trades"))
    fill(questdb_server, "f_trades", 4, 1000, 1000)
    files = msgspec.structs.replace(plan, database=QuestDBSource(url=f"http://{questdb_server.addr}",
                                                            folder=str(questdb_server.folder)))
    made = make(files)
    assert (made.problems, made.exit_code) == ([], 0)
    assert questdb_server.value(IN_PROGRESS) is False
    fill(questdb_server, "f_trades", 7, 500, 1500)
    shelf, manifest = newest(files)
    restore(shelf, manifest, tmp_path / "again", [])
    second = QuestDBServer(tmp_path / "again" / "questdb")
    second.start()
    try:
        assert second.await_count(1000, "f_trades") == 1000
        assert second.value("SELECT sum(price) FROM f_trades") == sum(x * 0.5 for x in range(1, 1001))
        fill(second, "f_trades", 8, 10, 1010)
    finally:
        second.end()


def test_tables_of_another_host_are_exported_by_partition_and_only_what_grew_again(
        plan: BackupPlan, questdb_server: QuestDBServer, tmp_path: Path) -> None:
    questdb_server.sql(DDL.format("b_trades"))
    fill(questdb_server, "b_trades", 4, 1000, 1000)
    export = msgspec.structs.replace(plan, database=QuestDBSource(url=f"http://{questdb_server.addr}", prefix="b_"))
    assert make(export).problems == []
    fill(questdb_server, "b_trades", 7, 100, 1100)
    first = {row.name: row for row in newest(export)[1].files if row.name.startswith("questdb-parquet/")}
    make(export)
    shelf, manifest = newest(export)
    second = {row.name: row for row in manifest.files if row.name.startswith("questdb-parquet/")}
    assert len(first) == 2 and len(second) == 3
    assert second["questdb-parquet/b_trades/2026-11-24.parquet"] == first["questdb-parquet/b_trades/2026-11-24.parquet"]
    restore(shelf, manifest, tmp_path / "again", [])
    tables = [pyarrow.parquet.read_table(path) for path in (tmp_path / "again/questdb-parquet/b_trades").iterdir()]
    assert sum(table.num_rows for table in tables) == sum(row.rows["b_trades"] for row in second.values()) == 1100


def test_a_checkpoint_is_released_whatever_happens(questdb_server: QuestDBServer, tmp_path: Path) -> None:
    questdb = QuestDB(QuestDBSource(url=f"http://{questdb_server.addr}"))
    seen: list[bool] = []

    def fail() -> None:
        with checkpoint(questdb, tmp_path / MARKER):
            seen.append(questdb_server.value(IN_PROGRESS))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert seen == [True]
    assert questdb_server.value(IN_PROGRESS) is False and not (tmp_path / MARKER).exists()


def test_the_checkpoint_of_a_killed_backup_is_released_by_the_next_and_that_of_others_is_not(
        questdb_server: QuestDBServer, tmp_path: Path) -> None:
    questdb = QuestDB(QuestDBSource(url=f"http://{questdb_server.addr}"))
    questdb_server.sql("CHECKPOINT CREATE")
    with pytest.raises(ServiceUnavailable, match="another program holds"), checkpoint(questdb, tmp_path / MARKER):
        pass
    assert questdb_server.value(IN_PROGRESS) is True
    (tmp_path / MARKER).touch()
    with checkpoint(questdb, tmp_path / MARKER):
        pass
    assert questdb_server.value(IN_PROGRESS) is False


@pytest.mark.parametrize("folder", ["", "root"])
def test_a_server_that_is_down_costs_its_tables_and_not_the_journal(plan: BackupPlan, tmp_path: Path, folder: str) -> None:
    (tmp_path / "root" / "db").mkdir(parents=True)
    made = make(msgspec.structs.replace(plan, database=QuestDBSource(
        url="http://127.0.0.1:9", folder=str(tmp_path / folder) if folder else "")))
    assert made.trades == 10_000 and made.exit_code == 1 and "does not answer" in made.problems[0]
