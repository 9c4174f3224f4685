"""Old days of the table of trades: their sizes, how they go as a disk fills up, and a checked copy as Parquet."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from pumpwatch_plugins.sinks.postgres import PostgresOptions, PostgresSink

from pumpwatch.clock import Clock
from pumpwatch.config_disk import DiskConfig
from pumpwatch.errors import ServiceUnavailable
from pumpwatch.ops.cold_file import ColdFolder
from pumpwatch.ops.cold_tier import ColdTier
from pumpwatch.ops.disk_watch import Level, disk_use
from pumpwatch.sink_abilities import DroppingSink, StoredDay
from tests.postgres_server import Database
from tests.sinks.stores import CATALOGUE
from tests.trades import batch_of

DAY_NS = 86_400 * 10**9
ROWS = 300  # a day
AGES = (28, 27, 26, 1, 0)


@pytest.fixture
def filled(sink: PostgresSink) -> PostgresSink:
    today_ns = time.time_ns() // DAY_NS * DAY_NS
    for age in AGES:
        sink.write(batch_of(ROWS, start_ns=today_ns - age * DAY_NS, step_ns=1000), CATALOGUE)
    return sink


def stored(postgres: Database) -> int:
    return int(postgres.value("SELECT count(*) FROM pumpwatch.trade_history"))


def test_days_are_listed_with_their_trades_but_not_the_one_that_is_written(filled: PostgresSink, postgres: Database) -> None:
    assert isinstance(filled, DroppingSink)
    today_ns = time.time_ns() // DAY_NS * DAY_NS
    days = filled.days()
    assert [(day.from_ns, day.to_ns, day.trades) for day in days] == [
        (today_ns - age * DAY_NS, today_ns - (age - 1) * DAY_NS, ROWS) for age in AGES[:-1]]
    assert all(day.size_bytes > 0 for day in days)
    assert list(PostgresSink(PostgresOptions(dsn=postgres.dsn, schema="other")).days()) == []


def test_a_day_is_counted_once_and_again_after_it_changed(filled: PostgresSink, postgres: Database) -> None:
    first = filled.days()[0]
    comment = f"SELECT obj_description('pumpwatch.{first.name}'::regclass)"
    assert postgres.value(comment).startswith(f"pumpwatch counted {ROWS} ")
    postgres.sql(f"COMMENT ON TABLE pumpwatch.{first.name} IS '{postgres.value(comment).replace(f' {ROWS} ', ' 7 ')}'")
    other = PostgresSink(PostgresOptions(dsn=postgres.dsn))
    assert other.days()[0].trades == 7, "the comment is believed"
    filled.write(batch_of(5, first_id=10**6, start_ns=first.from_ns), CATALOGUE)
    filled.close()  # a connection tells its counters at its end
    deadline = time.monotonic() + 30
    while other.days()[0].trades != ROWS + 5 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert other.days()[0].trades == ROWS + 5
    other.close()


def test_in_an_emergency_old_days_go_and_their_candles_stay(filled: PostgresSink, postgres: Database) -> None:
    filled.trouble()
    candles = postgres.value("SELECT count(*) FROM pumpwatch.candles")
    tier = ColdTier("postgres", filled, DiskConfig(), Clock())
    assert tier.run(Level.CLEAN_UP) == []
    gone = tier.run(Level.EMERGENCY)
    assert len(gone) == 3 and stored(postgres) == 2 * ROWS
    assert postgres.value("SELECT count(*) FROM pumpwatch.candles") == candles > 0
    assert tier.run(Level.EMERGENCY) == []
    filled.write(batch_of(ROWS, start_ns=gone[0].from_ns, step_ns=1000), CATALOGUE)
    assert stored(postgres) == 3 * ROWS, "what comes again gets its day again"
    filled.trouble()
    assert stored(postgres) == 2 * ROWS, "the shortened time holds for it"
    assert tier.run(Level.OK) == []


def test_a_day_is_copied_as_parquet_and_checked_against_the_server(filled: PostgresSink, tmp_path: Path) -> None:
    tier = ColdTier("postgres", filled, DiskConfig(), Clock(), ColdFolder(tmp_path))
    gone = tier.run(Level.EMERGENCY)
    assert len(gone) == 3
    for day in gone:
        table = pyarrow.parquet.read_table(tmp_path / "postgres" / f"{day.name}.parquet")
        batch = batch_of(ROWS, start_ns=day.from_ns, step_ns=1000)
        assert table["trade_id"].to_pylist() == batch.id_texts()
        np.testing.assert_array_equal(table["price"].to_numpy(), batch.price)
        np.testing.assert_array_equal(table["timestamp"].cast("int64").to_numpy(), batch.timestamp)
        assert table["sequence_number"].null_count == ROWS


def test_a_day_that_is_gone_is_named(sink: PostgresSink, tmp_path: Path) -> None:
    with (tmp_path / "x").open("wb") as file, pytest.raises(ServiceUnavailable, match="does not exist any more"):
        sink.write_parquet(StoredDay("trade_history_20200101", 0, 1, 1, 1), file)


def test_a_server_on_this_machine_names_its_folder(sink: PostgresSink, postgres: Database, tmp_path: Path) -> None:
    assert Path(sink.files_in()) == postgres.server.data and disk_use(Path(sink.files_in())).total > 0
    assert PostgresSink(PostgresOptions(dsn="postgresql://db.example/x")).files_in() == ""
    assert PostgresSink(PostgresOptions(dsn="postgresql://db.example/x", data_dir=str(tmp_path))).files_in() == str(tmp_path)
    postgres.sql("DO $$ BEGIN CREATE ROLE nosy LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
    assert PostgresSink(PostgresOptions(dsn=postgres.dsn.replace("postgres@", "nosy@"))).files_in() == ""
