"""Days are made ahead and dropped by age; candles follow the trades, late ones too, and no crash loses one."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
from pumpwatch_plugins.sinks.postgres import PostgresOptions, PostgresSink
from pumpwatch_plugins.sinks.postgres.server import Server
from pumpwatch_plugins.sinks.postgres.sql import DAY_NS, literal, moment
from pumpwatch_plugins.sinks.postgres.upkeep import MINUTE_NS, MINUTES_AT_ONCE, Upkeep, touch

from tests.postgres_server import Database
from tests.sinks.stores import CATALOGUE
from tests.trades import batch_of

PARTITIONS = ("SELECT relname::text FROM pg_class JOIN pg_inherits ON oid = inhrelid WHERE inhparent::regclass::text"
              " = 'pumpwatch.trade_history' ORDER BY 1")


def upkeep_of(postgres: Database, retention_days: int = 90) -> Upkeep:
    options = PostgresOptions(dsn=postgres.dsn, retention_days=retention_days)
    return Upkeep(Server(options), options)


def day_name(days_from_now: int) -> str:
    return f"trade_history_{moment(time.time_ns() + days_from_now * DAY_NS):%Y%m%d}"


def test_days_are_made_ahead_and_those_of_the_trades(sink: PostgresSink, postgres: Database) -> None:
    sink.write(batch_of(10, start_ns=time.time_ns() - 5 * DAY_NS), CATALOGUE)
    sink.trouble()
    names = [name for name, in postgres.sql(PARTITIONS)]
    assert {day_name(day) for day in (-5, 0, 1, 2)} | {"trade_history_other"} == set(names)


def test_a_time_far_off_is_stored_beside_the_days_and_hinders_none(sink: PostgresSink, postgres: Database) -> None:
    odd = [-1, 2**63 - 1, time.time_ns() + 10 * DAY_NS]
    batch = batch_of(3)
    batch = replace(batch, timestamp=np.array(odd, np.int64))
    assert sink.write(batch, CATALOGUE).accepted == 3
    assert postgres.value("SELECT count(*) FROM pumpwatch.trade_history_other") == 3
    tomorrow = time.time_ns() // DAY_NS + 1
    postgres.sql(f"INSERT INTO pumpwatch.trade_history SELECT {literal(tomorrow * DAY_NS)}, now(), 1, 1, NULL, 0, 0, NULL, 'buy',"
                 " 'okx', 'spot', 'X', '1'")
    upkeep_of(postgres).make_days([tomorrow])
    assert sink.write(batch_of(5, start_ns=tomorrow * DAY_NS), CATALOGUE).accepted == 5, "they join the one that came too early"


def test_days_beyond_the_retention_go_with_what_is_as_old_elsewhere(sink: PostgresSink, postgres: Database) -> None:
    for days in (40, 20, 0):
        sink.write(batch_of(10, first_id=days, start_ns=time.time_ns() - days * DAY_NS), CATALOGUE)
    sink.write(replace(batch_of(1), timestamp=np.array([5], np.int64)), CATALOGUE)
    sink.write_health([])
    postgres.sql("UPDATE pumpwatch.system_metrics SET time = time - interval '31 days'")
    upkeep_of(postgres, 0).drop_old()
    assert postgres.value("SELECT count(*) FROM pumpwatch.trade_history") == 31, "0 keeps for ever"
    upkeep_of(postgres, 30).drop_old()
    names = [name for name, in postgres.sql(PARTITIONS)]
    assert day_name(-40) not in names and day_name(-20) in names
    assert postgres.value("SELECT count(*) FROM pumpwatch.trade_history") == 20
    assert postgres.value("SELECT count(*) FROM pumpwatch.system_metrics") == 0


def test_candles_are_those_of_the_trades_and_late_trades_correct_them(sink: PostgresSink, postgres: Database) -> None:
    minute = (time.time_ns() // MINUTE_NS - 90) * MINUTE_NS
    batch = batch_of(5_000, instruments=1, start_ns=minute, step_ns=MINUTE_NS // 500)  # ten minutes
    batch = replace(batch, flags=np.where(np.arange(5_000) == 7, 8, 0).astype(np.uint8))
    sink.write(batch, CATALOGUE)
    sink.trouble()
    found = postgres.sql("SELECT open, high, low, close, volume, buy_volume, trades FROM pumpwatch.candles ORDER BY time")
    assert len(found) == 10 and not postgres.sql("SELECT 1 FROM pumpwatch.stale_minutes")
    for number in (0, 9):
        part = batch.take(slice(number * 500, number * 500 + 500))
        part = part.take(part.flags == 0)
        assert found[number][:4] == (part.price[0], part.price.max(), part.price.min(), part.price[-1])
        np.testing.assert_allclose(found[number][4:6], (part.quantity.sum(), part.quantity[part.side == 0].sum()))
        assert found[number][6] == len(part)
    late = replace(batch_of(1, first_id=9_999, start_ns=minute), price=np.array([10.0**9]), instrument=np.array([0], np.int32))
    sink.write(late, CATALOGUE)
    sink.trouble()
    assert postgres.value("SELECT max(high) FROM pumpwatch.candles_1d") == 10.0**9
    assert postgres.value("SELECT sum(trades) FROM pumpwatch.daily_trading_stats") == 5_000


def test_a_minute_that_runs_or_is_being_written_waits(sink: PostgresSink, postgres: Database) -> None:
    sink.write(batch_of(10, step_ns=1), CATALOGUE)
    upkeep = upkeep_of(postgres)
    assert upkeep.make_candles() == 0, "it is not over"
    old = batch_of(MINUTES_AT_ONCE + 5, first_id=100, start_ns=time.time_ns() - 100 * MINUTE_NS, step_ns=MINUTE_NS)
    sink.write(old, CATALOGUE)
    with Server(PostgresOptions(dsn=postgres.dsn)).session() as writer:
        writer.execute(touch("pumpwatch", old.take(slice(0, 5))).encode())
        assert upkeep.make_candles() == MINUTES_AT_ONCE, "those of the writer are left out"
    assert upkeep.make_candles() == 5
    assert postgres.value("SELECT sum(trades) FROM pumpwatch.candles") == MINUTES_AT_ONCE + 5
