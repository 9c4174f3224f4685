"""The QuestDB sink against a real server: what is written is stored once, and a rejected row is named."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from pumpwatch_plugins.sinks.questdb import QuestDBOptions, QuestDBSink
from pumpwatch_plugins.sinks.questdb import sink as module

from pumpwatch.catalogue import Catalogue
from pumpwatch.errors import ConfigError, ServiceUnavailable
from pumpwatch.model import SPOT, Instrument
from pumpwatch.store.minutes import MINUTE_NS, minutes_of
from pumpwatch.store.rejected_rows import store_all
from tests.questdb_server import QuestDBServer
from tests.sinks.stores import CATALOGUE, EVENT, HEALTH, NO_TRADE, assert_same, listing_at, names, read_all
from tests.trades import batch_of, catalogue_of


def test_a_batch_comes_back_as_it_was(
        sink: QuestDBSink, questdb_server: QuestDBServer, prefix: str) -> None:
    batch = batch_of(25_000)
    flags, sequence = batch.flags.copy(), batch.sequence_number.copy()
    flags[[3, 9_999, 10_000, 24_999]] = [1, 4, 8, 33]
    sequence[5_000:6_000] = np.arange(1_000)
    text_id = np.zeros(25_000, "S36")
    text_id[7], text_id[8], text_id[20_000] = b"7f1d9c2e-3b1a-4c55-9a61-0d7f3c0f2b11", b"007", b"a b,\"c\"=\\d"
    batch = replace(batch, flags=flags, sequence_number=sequence, text_id=text_id,
                    trade_id=np.where(text_id != b"", 0, batch.trade_id))
    assert sink.write(batch, CATALOGUE).accepted == 25_000
    questdb_server.await_count(25_000, f"{prefix}trades")
    found = sink.read(names(), int(batch.timestamp[0]), int(batch.timestamp[-1]) + 1, CATALOGUE)
    assert_same(found.take(found.timestamp.argsort(kind="stable")), batch)


def test_the_server_tells_its_version_and_the_size_of_its_tables(sink: QuestDBSink, questdb_server: QuestDBServer,
                                                                 prefix: str) -> None:
    before = sink.facts()
    sink.write(batch_of(10), CATALOGUE)
    questdb_server.await_count(10, f"{prefix}trades")
    after = sink.facts()
    assert before.version == after.version == "QuestDB 9.3.4"
    assert after.size_bytes > before.size_bytes and after.parts > before.parts


def test_prices_and_quantities_keep_every_bit(
        sink: QuestDBSink, questdb_server: QuestDBServer, prefix: str) -> None:
    draw = np.random.default_rng(5)
    batch = batch_of(5_000)
    batch = replace(batch, price=draw.lognormal(0, 12, 5_000), quantity=draw.lognormal(0, 12, 5_000))
    sink.write(batch, CATALOGUE)
    questdb_server.await_count(5_000, f"{prefix}trades")
    assert_same(read_all(sink, batch), batch)


def test_a_batch_written_three_times_is_stored_once(
        sink: QuestDBSink, questdb_server: QuestDBServer, prefix: str) -> None:
    batch = batch_of(3_000)
    for _ in range(3):
        assert sink.write(batch, CATALOGUE).accepted == 3_000
    sink.write(later := batch_of(1, first_id=9_000), CATALOGUE)
    deadline = time.monotonic() + 30
    while not len(read_all(sink, later)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert questdb_server.count(f"{prefix}trades") == 3_001


def test_more_than_a_flush_holds_is_sent_in_parts(
        sink: QuestDBSink, questdb_server: QuestDBServer, prefix: str) -> None:
    batch = batch_of(module.FLUSH_ROWS + 1_234, step_ns=1_000)
    assert sink.write(batch, CATALOGUE).accepted == module.FLUSH_ROWS + 1_234
    assert questdb_server.await_count(len(batch), f"{prefix}trades") == len(batch)


def test_symbols_with_every_kind_of_sign_are_kept(
        sink: QuestDBSink, questdb_server: QuestDBServer, prefix: str) -> None:
    catalogue = Catalogue()
    signs = ["BTC-USDT", "BTC/USDT:USDT", "币安人生USDT", "A B", "A=B,C", "it's", "back\\slash", "1000PEPE_USDT", "ﬀ🚀"]
    for symbol in signs:
        catalogue.add(("binance", SPOT), Instrument(symbol=symbol, base="X", quote="USDT"))
    batch = replace(batch_of(len(signs)), instrument=np.arange(len(signs), dtype=np.int32))
    sink.write(batch, catalogue)
    questdb_server.await_count(len(signs), f"{prefix}trades")
    found = sink.read(catalogue.names(range(len(signs))), 0, 2**62, catalogue)
    assert [catalogue.instruments[number].symbol for number in found.instrument.tolist()] == signs


def test_an_instrument_added_later_is_named_rightly(
        sink: QuestDBSink, questdb_server: QuestDBServer, prefix: str) -> None:
    catalogue = catalogue_of(2)
    sink.write(batch_of(10, instruments=4), catalogue)
    late = catalogue.add(("binance", SPOT), Instrument(symbol="LATEUSDT", base="LATE", quote="USDT"))
    sink.write(replace(batch_of(1, first_id=11), instrument=np.array([late], np.int32)), catalogue)
    questdb_server.await_count(11, f"{prefix}trades")
    assert questdb_server.count(f"{prefix}trades", "symbol = 'LATEUSDT'") == 1


def test_a_refused_row_is_named_and_a_table_that_refuses_all_is_at_fault(
        sink: QuestDBSink, questdb_server: QuestDBServer, prefix: str) -> None:
    """A side column that takes no letters: the server names the first line, and it is the table's fault."""
    table = f"{prefix}trades"
    questdb_server.sql(f"ALTER TABLE {table} ALTER COLUMN side TYPE LONG")
    refusals = sink.write(batch_of(20_000), CATALOGUE)
    assert refusals.accepted == 0
    (row, reason), = refusals.refused
    assert row == 0
    assert "column: side" in reason
    with pytest.raises(ServiceUnavailable, match="rejects every trade"):
        store_all(lambda batch: sink.write(batch, CATALOGUE), batch_of(500))


def test_the_poisonous_row_of_a_batch_is_found(
        sink: QuestDBSink, questdb_server: QuestDBServer, prefix: str) -> None:
    """A flags column that holds a BYTE takes small flags and refuses large ones."""
    questdb_server.sql(f"ALTER TABLE {prefix}trades ALTER COLUMN flags TYPE BYTE")
    batch = batch_of(30_000)
    flags = batch.flags.copy()
    flags[[100, 12_345]] = [1, 200]
    batch = replace(batch, flags=flags)
    refused = store_all(lambda part: sink.write(part, CATALOGUE), batch)
    assert [row for row, _ in refused] == [12_345]
    assert "column: flags" in refused[0][1]
    assert questdb_server.await_count(29_999, f"{prefix}trades") == 29_999


def test_rows_with_impossible_times_are_found(
        sink: QuestDBSink, questdb_server: QuestDBServer, prefix: str) -> None:
    batch = batch_of(3_000)
    timestamp = batch.timestamp.copy()
    timestamp[[7, 2_000]] = -1, 2**63 - 1  # before 1970 here, beyond 2261 for the server
    refused = store_all(lambda part: sink.write(part, CATALOGUE), replace(batch, timestamp=timestamp))
    assert [row for row, _ in refused] == [7, 2_000]
    assert questdb_server.await_count(2_998, f"{prefix}trades") == 2_998


def test_a_suspended_table_is_named_until_it_is_resumed(
        sink: QuestDBSink, questdb_server: QuestDBServer, prefix: str) -> None:
    assert sink.trouble() == ""
    questdb_server.suspend(f"{prefix}trades")
    assert f"table {prefix}trades is suspended" in sink.trouble()
    assert sink.write(batch_of(10), CATALOGUE).accepted == 10
    questdb_server.sql(f"ALTER TABLE {prefix}trades RESUME WAL")
    assert questdb_server.await_count(10, f"{prefix}trades") == 10
    assert sink.trouble() == ""


def test_listings_and_health_are_stored_once(
        sink: QuestDBSink, questdb_server: QuestDBServer, prefix: str) -> None:
    now = time.time_ns()
    for trades in (1, 2):
        sink.write_listing(replace(listing_at(now), drill=True), replace(EVENT, trades=trades))
    sink.write_health([HEALTH, NO_TRADE])
    sink.write_health([])
    questdb_server.await_count(1, f"{prefix}listing_events")
    questdb_server.await_count(2, f"{prefix}exchange_health")
    deadline = time.monotonic() + 30
    while (rows := questdb_server.sql("SELECT symbol, title, archive, trades, announced_at::long, trigger_delay_ms,"
                                      f" exchanges_with_data, drill FROM {prefix}listing_events"))[0][3] != 2:
        assert time.monotonic() < deadline
    assert rows == [["ZKP", "it's a 제목", "data/ZKP", 2, now, 2.5, "binance,okx", True]]
    health = questdb_server.sql("SELECT market_type, connections, lag_ms, status, last_trade_time::long, message_count,"
                                f" error_message FROM {prefix}exchange_health")
    assert sorted(health) == [
        ["futures", 2, 1.5, "connected", None, 5, None],
        ["spot", 2, 1.5, "degraded", 1_795_000_000_123_456_789, 5, "it's closed: '); DROP TABLE trades"]]


def test_ranges_are_counted_with_all_that_was_acknowledged(
        sink: QuestDBSink, questdb_server: QuestDBServer, prefix: str) -> None:
    start = 1_795_000_000_000_000_000
    for first in range(0, 60_000, 20_000):
        sink.write(batch_of(20_000, first_id=first, start_ns=start + first * 1_000_000, step_ns=1_000_000), CATALOGUE)
    ranges = [(start + second * 10**9, start + (second + 1) * 10**9) for second in range(-1, 120)]
    assert sink.count(ranges) == [0, *[1_000] * 60, *[0] * 60]
    assert sink.count([]) == []


def test_it_says_what_a_power_cut_may_cost_and_when_it_is_another_one(
        sink: QuestDBSink, questdb_server: QuestDBServer, prefix: str) -> None:
    fresh = sink.keeping()
    assert (fresh.at_risk_s, fresh.empty, fresh.keeps_s) == (300.0, True, 30 * 86_400)
    sink.write(batch_of(10), CATALOGUE)
    assert not sink.keeping().empty, "neither before nor after it is visible"
    assert sink.keeping().run == fresh.run
    questdb_server.sql(f"DROP TABLE {prefix}trades")
    dropped = sink.keeping()
    assert dropped.empty
    assert dropped.run != fresh.run
    sink.open()
    assert sink.keeping().run not in (fresh.run, dropped.run)


def test_a_server_that_is_not_there_is_unavailable_and_says_how_to_start_one() -> None:
    sink = QuestDBSink(QuestDBOptions(addr="127.0.0.1:1"))
    for call in (sink.open, sink.trouble, lambda: sink.read(names(), 0, 1, CATALOGUE),
                 lambda: sink.write(batch_of(1), CATALOGUE)):
        with pytest.raises(ServiceUnavailable):
            call()
    with pytest.raises(ServiceUnavailable, match="packaging/questdb start"):
        sink.open()


def test_minutes_add_up_as_the_journal_adds_them_up(
        sink: QuestDBSink, questdb_server: QuestDBServer, prefix: str) -> None:
    draw = np.random.default_rng(7)
    batch = batch_of(6_000, start_ns=1_795_000_000_123_456_789, step_ns=50_000_000)
    text_id = np.zeros(6_000, "S36")
    text_id[:4] = [b"7f1d9c2e-3b1a-4c55-9a61-0d7f3c0f2b11", b"007", b"a b,\"c\"=\\d", b"9" * 30]
    batch = replace(batch, price=draw.lognormal(0, 12, 6_000), quantity=draw.lognormal(0, 12, 6_000), text_id=text_id,
                    trade_id=np.where(text_id != b"", 0, batch.trade_id))
    sink.write(batch, CATALOGUE)
    expected = minutes_of(batch)
    first, last = int(expected.minute.min()), int(expected.minute.max()) + 1
    found = sink.minute_sums(first * MINUTE_NS, last * MINUTE_NS)
    assert sorted(found) == sorted(
        (*name, minute, trades, checksum) for name, minute, trades, checksum in
        zip(CATALOGUE.names(expected.instrument), expected.minute.tolist(), expected.trades.tolist(),
            expected.checksum.tolist(), strict=True))
    assert questdb_server.count(f"{prefix}trades") == 6_000


def test_a_trial_has_tables_of_its_own_and_leaves_nothing_behind(sink: QuestDBSink, questdb_server: QuestDBServer,
                                                                 prefix: str) -> None:
    trial = sink.trial("1")
    trial.open()
    trial.write(batch_of(50), catalogue_of())
    assert questdb_server.await_count(50, f"{prefix}trial_1_trades") == 50
    assert f"{prefix}trial_1_trades" in trial.trial_place()
    trial.remove_trial()
    tables = [name for name, in questdb_server.sql("SELECT table_name FROM tables()")]
    assert f"{prefix}trades" in tables and not [name for name in tables if "trial" in name]
    with pytest.raises(ConfigError, match="not tables of a trial"):
        sink.remove_trial()
    assert questdb_server.count(f"{prefix}trades") == 0
