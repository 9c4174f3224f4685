"""The PostgreSQL sink against a real server: what is written is stored once, and a rejected row is found."""

from __future__ import annotations

import time
from dataclasses import replace

import gevent
import numpy as np
import pytest
from pumpwatch_plugins.sinks.postgres import PostgresOptions, PostgresSink
from pumpwatch_plugins.sinks.postgres import sink as module

from pumpwatch.catalogue import Catalogue
from pumpwatch.errors import ConfigError, ServiceUnavailable
from pumpwatch.model import SPOT, Instrument, TradeBatch
from pumpwatch.store.minutes import MINUTE_NS, minutes_of
from pumpwatch.store.rejected_rows import store_all
from tests.postgres_server import Database, PgBouncer
from tests.sinks.stores import CATALOGUE, EVENT, HEALTH, NO_TRADE, assert_same, listing_at, names, read_all
from tests.trades import batch_of


def odd_batch(rows: int) -> TradeBatch:
    """Return trades with flags, sequence numbers, and ids of every kind."""
    batch = batch_of(rows)
    flags, sequence = batch.flags.copy(), batch.sequence_number.copy()
    flags[[3, rows - 1]] = [1, 255]
    sequence[5:60] = np.arange(55)
    text_id = np.zeros(rows, "S36")
    text_id[7], text_id[8], text_id[20] = b"7f1d9c2e-3b1a-4c55-9a61-0d7f3c0f2b11", b"007", "a b,\"c\"=\\d é".encode()
    return replace(batch, flags=flags, sequence_number=sequence, text_id=text_id,
                   trade_id=np.where(text_id != b"", 0, batch.trade_id))


@pytest.mark.parametrize("copy", [True, False])
@pytest.mark.parametrize("numbers", ["double", "numeric"])
def test_a_batch_comes_back_as_it_was_and_is_stored_once(postgres: Database, copy: bool, numbers: str) -> None:
    sink = PostgresSink(PostgresOptions(dsn=postgres.dsn, copy=copy, numbers=numbers))
    sink.open()
    batch = odd_batch(1_000)
    batch = replace(batch, quantity=np.round(batch.quantity, 5))
    for _ in range(3):
        assert sink.write(batch, CATALOGUE).accepted == 1_000
    found = sink.read(names(), int(batch.timestamp[0]), int(batch.timestamp[-1]) + 1, CATALOGUE)
    assert_same(found, batch)
    assert postgres.value("SELECT count(*) FROM pumpwatch.trade_history") == 1_000
    sink.close()


def test_a_trade_that_comes_again_among_new_ones_is_left_out(sink: PostgresSink, postgres: Database,
                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CAREFUL_S", 0.0)
    sink.open()
    whole = batch_of(300)
    for part in (slice(0, 100), slice(50, 200), slice(100, 300), slice(0, 300)):
        sink.write(whole.take(part), CATALOGUE)
    assert_same(read_all(sink, whole), whole)


def test_doubles_keep_every_bit_and_numerics_the_shortest_digits(sink: PostgresSink, postgres: Database) -> None:
    draw = np.random.default_rng(5)
    batch = replace(batch_of(2_000), price=draw.lognormal(0, 12, 2_000), quantity=draw.lognormal(0, 12, 2_000))
    sink.write(batch, CATALOGUE)
    assert_same(read_all(sink, batch), batch)
    exact = PostgresSink(PostgresOptions(dsn=postgres.dsn, numbers="numeric", schema="exact"))
    exact.open()
    exact.write(replace(batch_of(2), price=np.array([0.1 + 0.2, 64_999.99]), quantity=np.array([1e-8, 123_456_789.12345678])),
                CATALOGUE)
    assert postgres.sql("SELECT trim_scale(price)::text, trim_scale(quantity)::text FROM exact.trade_history ORDER BY time") == [
        ("0.30000000000000004", "0.00000001"), ("64999.99", "123456789.12345678")]
    exact.close()


def test_more_than_a_flush_holds_is_written_in_parts(sink: PostgresSink, postgres: Database,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FLUSH_ROWS", 1_000)
    assert sink.write(batch_of(2_345), CATALOGUE).accepted == 2_345
    assert postgres.value("SELECT count(DISTINCT trade_id) FROM pumpwatch.trade_history") == 2_345


def test_symbols_with_every_kind_of_sign_are_kept(sink: PostgresSink) -> None:
    catalogue = Catalogue()
    signs = ["BTC-USDT", "BTC/USDT:USDT", "币安人生USDT", "A B", "A=B,C", "it's", "back\\slash", '"q"', "ﬀ🚀", "%s{}", "NULL"]
    for symbol in signs:
        catalogue.add(("binance", SPOT), Instrument(symbol=symbol, base="X", quote="USDT"))
    batch = replace(batch_of(len(signs)), instrument=np.arange(len(signs), dtype=np.int32))
    sink.write(batch, catalogue)
    found = sink.read(catalogue.names(range(len(signs))), 0, 2**62, catalogue)
    assert [catalogue.instruments[number].symbol for number in found.instrument.tolist()] == signs


@pytest.mark.parametrize("copy", [True, False])
def test_poisonous_rows_are_found_and_the_others_are_stored(postgres: Database, copy: bool) -> None:
    sink = PostgresSink(PostgresOptions(dsn=postgres.dsn, numbers="numeric", copy=copy))
    sink.open()
    batch = batch_of(2_000)
    price, text_id = batch.price.copy(), np.zeros(2_000, "S4")
    price[[100, 1_234]] = 1e18, 1e30  # NUMERIC(36, 18) holds less
    text_id[1_500] = b"\xff\xfe"
    batch = replace(batch, price=price, text_id=text_id)
    refused = store_all(lambda part: sink.write(part, CATALOGUE), batch)
    assert [row for row, _ in refused] == [100, 1_234, 1_500]
    assert "numeric field overflow" in refused[0][1] and "invalid byte sequence" in refused[2][1]
    assert postgres.value("SELECT count(*) FROM pumpwatch.trade_history") == 1_997
    sink.close()


def test_a_table_that_refuses_everything_is_at_fault(sink: PostgresSink, postgres: Database) -> None:
    postgres.sql("ALTER TABLE pumpwatch.trade_history ADD CHECK (price < 0)")
    with pytest.raises(ServiceUnavailable, match=r"rejects every trade.*violates check constraint"):
        store_all(lambda batch: sink.write(batch, CATALOGUE), batch_of(50))


def test_it_works_through_pgbouncer_with_a_pool_of_one(postgres: Database, pgbouncer: PgBouncer) -> None:
    sink = PostgresSink(PostgresOptions(dsn=pgbouncer.dsn(postgres.name)))
    sink.open()
    batches = [batch_of(500, first_id=first) for first in range(0, 4_000, 500)]
    writers = [gevent.spawn(sink.write, batch, CATALOGUE) for batch in batches]
    readers = [gevent.spawn(sink.count, [(0, 2**62)]) for _ in range(4)]
    gevent.joinall([*writers, *readers], raise_error=True)
    assert sink.count([(0, 2**62)]) == [4_000]
    sink.write_health([HEALTH])
    sink.close()


def test_listings_health_and_metrics_are_stored_once(sink: PostgresSink, postgres: Database) -> None:
    now = time.time_ns() // 1000 * 1000
    for trades in (1, 2):
        sink.write_listing(replace(listing_at(now), drill=True), replace(EVENT, trades=trades))
    sink.write_health([HEALTH, NO_TRADE])
    sink.write_health([])
    assert postgres.sql("SELECT symbol, title, archive, trades, extract(epoch FROM announced_at) * 1000000 = "
                        f"{now // 1000}, trigger_delay_ms, exchanges_with_data, drill FROM pumpwatch.listing_events") == [
        ("ZKP", "it's a 제목", "data/ZKP", 2, True, 2.5, "binance,okx", True)]
    health = postgres.sql("SELECT market_type, connections, lag_ms, status, extract(epoch FROM last_trade_time)::text,"
                          " message_count, error_message FROM pumpwatch.exchange_health ORDER BY 1, time")
    assert ("futures", 2, 1.5, "connected", None, 5, None) in health
    assert ("spot", 2, 1.5, "degraded", "1795000000.123456", 5, "it's closed: '); DROP TABLE trades") in health
    assert postgres.value("SELECT value > 0 FROM pumpwatch.system_metrics WHERE name = 'cpu_seconds'")


def test_ranges_are_counted_and_minutes_add_up_as_the_journal_adds_them_up(sink: PostgresSink) -> None:
    draw = np.random.default_rng(7)
    start = 1_795_000_000_123_456_789
    batch = batch_of(3_000, start_ns=start, step_ns=50_000_000)
    text_id = np.zeros(3_000, "S36")
    text_id[:4] = [b"7f1d9c2e-3b1a-4c55-9a61-0d7f3c0f2b11", b"007", b"a b,\"c\"=\\d", b"9" * 30]
    batch = replace(batch, price=draw.lognormal(0, 12, 3_000), quantity=draw.lognormal(0, 12, 3_000), text_id=text_id,
                    trade_id=np.where(text_id != b"", 0, batch.trade_id))
    sink.write(batch, CATALOGUE)
    assert sink.count([(start + second * 10**9, start + (second + 1) * 10**9) for second in range(-1, 60)]) == [0, *[20] * 60]
    assert sink.count([]) == []
    expected = minutes_of(batch)
    found = sink.minute_sums(int(expected.minute.min()) * MINUTE_NS, (int(expected.minute.max()) + 1) * MINUTE_NS)
    assert sorted(found) == sorted(
        (*name, minute, trades, checksum) for name, minute, trades, checksum in
        zip(CATALOGUE.names(expected.instrument), expected.minute.tolist(), expected.trades.tolist(),
            expected.checksum.tolist(), strict=True))


def test_it_says_what_a_power_cut_may_cost_and_when_it_is_another_one(sink: PostgresSink, postgres: Database) -> None:
    fresh = sink.keeping()
    assert (fresh.at_risk_s, fresh.empty, fresh.keeps_s) == (300.0, True, 90 * 86_400), "the server of the tests never syncs"
    sink.write(batch_of(10), CATALOGUE)
    assert not sink.keeping().empty and sink.keeping().run == fresh.run
    postgres.sql("DROP SCHEMA pumpwatch CASCADE")
    assert sink.keeping().empty and sink.keeping().run != fresh.run
    with pytest.raises(ServiceUnavailable, match="42P01"):
        sink.write(batch_of(10), CATALOGUE)
    sink.open()
    assert sink.write(batch_of(10), CATALOGUE).accepted == 10


def test_a_trial_has_a_schema_of_its_own_and_leaves_nothing_behind(sink: PostgresSink, postgres: Database) -> None:
    name = f"{2**31}_{2**22}"  # as bench-sink names it
    assert sink.trial(name).trial_place().endswith(f"schema pumpwatch_trial_{name}")
    trial = sink.trial("1")
    trial.open()
    trial.write(batch_of(50), CATALOGUE)
    assert postgres.value("SELECT count(*) FROM pumpwatch_trial_1.trade_history") == 50
    assert trial.trial_place().endswith("schema pumpwatch_trial_1")
    trial.remove_trial()
    assert not postgres.sql("SELECT 1 FROM pg_namespace WHERE nspname LIKE '%trial%'")
    with pytest.raises(ConfigError, match="not the schema of a trial"):
        sink.remove_trial()
    assert postgres.value("SELECT count(*) FROM pumpwatch.trade_history") == 0
