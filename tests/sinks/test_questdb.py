"""The QuestDB sink against a real server: what is written is there once, the schema is checked, refusals name rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import requests
from pumpwatch_plugins.sinks import questdb as plugin
from pumpwatch_plugins.sinks import questdb_reading
from pumpwatch_plugins.sinks.questdb import QuestDBOptions, QuestDBSink
from pumpwatch_plugins.sinks.questdb_http import Server

from pumpwatch.catalogue import Catalogue
from pumpwatch.config import Config, options_of
from pumpwatch.errors import ConfigError, ServiceUnavailable
from pumpwatch.hookspecs import ListingEvent
from pumpwatch.model import FUTURES, SPOT, Instrument, Listing, TradeBatch
from pumpwatch.store.rejected_rows import store_all
from tests.questdb_server import QuestDBServer
from tests.sinks.stub_server import StubServer
from tests.trades import batch_of, catalogue_of

CATALOGUE = catalogue_of()
MakeSink = Callable[..., QuestDBSink]
PREFIXES = (f"s{number}_" for number in count())


@pytest.fixture
def prefix() -> str:
    """Tables of this test's own."""
    return next(PREFIXES)


@pytest.fixture
def sink(questdb_server: QuestDBServer, prefix: str) -> Iterator[QuestDBSink]:
    made = QuestDBSink(QuestDBOptions(addr=questdb_server.addr, table_prefix=prefix, candles=False))
    made.open()
    yield made
    made.close()


def names() -> list[tuple[str, str, str]]:
    return CATALOGUE.names(range(len(CATALOGUE)))


def read_all(sink: QuestDBSink, batch: TradeBatch) -> TradeBatch:
    found = sink.read(names(), int(batch.timestamp.min()), int(batch.timestamp.max()) + 1, CATALOGUE)
    return found.take(np.lexsort((found.trade_id, found.timestamp)))


def assert_same(found: TradeBatch, expected: TradeBatch) -> None:
    assert len(found) == len(expected)
    for got, wanted in zip(found.columns(), expected.columns(), strict=True):
        if got is None or wanted is None:
            assert got is wanted
        else:
            np.testing.assert_array_equal(got, wanted)


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
    batch = batch_of(plugin.FLUSH_ROWS + 1_234, step_ns=1_000)
    assert sink.write(batch, CATALOGUE).accepted == plugin.FLUSH_ROWS + 1_234
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


def test_a_range_ends_before_its_end_and_names_only_what_was_asked(
        sink: QuestDBSink, questdb_server: QuestDBServer, prefix: str) -> None:
    batch = batch_of(100)
    sink.write(batch, CATALOGUE)
    questdb_server.await_count(100, f"{prefix}trades")
    spot = [name for name in names() if name[1] == SPOT]
    found = sink.read(spot, int(batch.timestamp[10]), int(batch.timestamp[20]), CATALOGUE)
    wanted = [row for row in range(10, 20) if CATALOGUE.venues[batch.instrument[row]][1] == SPOT]
    assert found.trade_id.tolist() == batch.trade_id[wanted].tolist()
    assert len(sink.read([], 0, 2**62, CATALOGUE)) == 0


def await_ttl(server: QuestDBServer, prefix: str, expected: list[object]) -> None:
    """Wait until the TTL is this: changes go through the table's WAL."""
    deadline = time.monotonic() + 30
    statement = f"SELECT ttlValue, ttlUnit FROM tables() WHERE table_name = '{prefix}trades'"
    while (found := server.sql(statement)[0]) != expected:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


def test_tables_and_views_are_made_and_opening_again_changes_nothing(
        questdb_server: QuestDBServer, prefix: str) -> None:
    sink = QuestDBSink(QuestDBOptions(addr=questdb_server.addr, table_prefix=prefix, ttl_days=7))
    for _ in range(2):
        sink.open()
    sink.close()
    made = {row[0] for row in questdb_server.sql("SELECT table_name FROM tables()") if row[0].startswith(prefix)}
    assert made == {prefix + name for name in
                    ("trades", "exchange_health", "listing_events", "candles_1m", "candles_5m")}
    await_ttl(questdb_server, prefix, [1, "WEEK"])
    assert {row[0] for row in questdb_server.sql(
        f"SELECT view_status FROM materialized_views() WHERE view_name LIKE '{prefix}%'")} == {"valid"}


def test_candles_add_up(questdb_server: QuestDBServer, prefix: str) -> None:
    sink = QuestDBSink(QuestDBOptions(addr=questdb_server.addr, table_prefix=prefix))
    sink.open()
    start = time.time_ns() // 300_000_000_000 * 300_000_000_000 - 600_000_000_000
    batch = batch_of(6_000, start_ns=start, step_ns=50_000_000)  # five minutes
    sink.write(batch, CATALOGUE)
    sink.write(batch_of(1, first_id=7_000, start_ns=start + 900_000_000_000), CATALOGUE)
    questdb_server.await_count(6_001, f"{prefix}trades")
    for view in ("candles_1m", "candles_5m"):
        deadline = time.monotonic() + 60
        questdb_server.sql(f"REFRESH MATERIALIZED VIEW {prefix}{view} INCREMENTAL")
        where = f"timestamp < {start + 300_000_000_000}"
        while questdb_server.value(f"SELECT sum(trades) FROM {prefix}{view} WHERE {where}") != 6_000:
            assert time.monotonic() < deadline, view
            time.sleep(0.1)
        volume = questdb_server.value(f"SELECT sum(volume) FROM {prefix}{view} WHERE {where}")
        assert volume == pytest.approx(float(batch.quantity.sum()))
    one = [int(number) for number in np.flatnonzero(batch.instrument == 0)]
    opened, high, low, closed = questdb_server.sql(
        f"SELECT open, high, low, close FROM {prefix}candles_5m WHERE {where} AND symbol = 'C0USDT'"
        " AND market_type = 'spot'")[0]
    prices = batch.price[one]
    assert (opened, high, low, closed) == (prices[0], prices.max(), prices.min(), prices[-1])
    sink.close()


def open_when_applied(sink: QuestDBSink) -> None:
    """Open once an ALTER has gone through the table's WAL."""
    deadline = time.monotonic() + 30
    while True:
        try:
            sink.open()
            return
        except ConfigError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def expect_config_error(sink: QuestDBSink, message: str) -> str:
    """Return the hint of the error that opening raises once an ALTER has gone through the WAL."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            sink.open()
        except ConfigError as error:
            if message in error.message:
                return error.hint
        time.sleep(0.05)
    raise AssertionError(f"no error says {message!r}")


def test_a_column_of_another_type_is_a_config_error_that_says_how_to_mend_it(
        questdb_server: QuestDBServer, prefix: str) -> None:
    sink = QuestDBSink(QuestDBOptions(addr=questdb_server.addr, table_prefix=prefix, candles=False))
    sink.open()
    table = f"{prefix}trades"
    questdb_server.sql(f"DROP TABLE {table}")
    questdb_server.sql(sink._tables[0].ddl().replace("quantity DOUBLE", "quantity FLOAT"))
    with pytest.raises(ConfigError) as error:
        sink.open()
    assert error.value.message == f"QuestDB table {table}: column quantity is FLOAT, expected DOUBLE"
    assert f"ALTER TABLE {table} ALTER COLUMN quantity TYPE DOUBLE" in error.value.hint
    questdb_server.sql(f"ALTER TABLE {table} ALTER COLUMN quantity TYPE DOUBLE")
    open_when_applied(sink)
    questdb_server.sql(f"ALTER TABLE {table} DROP COLUMN flags")
    expect_config_error(sink, "column flags is missing")
    questdb_server.sql(f"ALTER TABLE {table} ADD COLUMN flags INT")
    open_when_applied(sink)
    questdb_server.sql(f"ALTER TABLE {table} DEDUP DISABLE")
    mend = expect_config_error(sink, "deduplicates on nothing")
    questdb_server.sql(mend.split(", or rename")[0])
    open_when_applied(sink)
    sink.close()


def test_a_ttl_changed_in_the_config_is_set(questdb_server: QuestDBServer, prefix: str) -> None:
    for days, found in ((30, [30, "DAY"]), (3, [3, "DAY"]), (0, [0, "HOUR"])):
        sink = QuestDBSink(QuestDBOptions(addr=questdb_server.addr, table_prefix=prefix, ttl_days=days, candles=False))
        sink.open()
        sink.close()
        await_ttl(questdb_server, prefix, found)


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
    refused = store_all(lambda one: sink.write(one, CATALOGUE), batch)
    assert [row for row, _ in refused] == [12_345]
    assert "column: flags" in refused[0][1]
    assert questdb_server.await_count(29_999, f"{prefix}trades") == 29_999


def test_rows_with_impossible_times_are_found(
        sink: QuestDBSink, questdb_server: QuestDBServer, prefix: str) -> None:
    batch = batch_of(3_000)
    timestamp = batch.timestamp.copy()
    timestamp[[7, 2_000]] = -1, 2**63 - 1  # before 1970 here, beyond 2261 for the server
    refused = store_all(lambda one: sink.write(one, CATALOGUE), replace(batch, timestamp=timestamp))
    assert [row for row, _ in refused] == [7, 2_000]
    assert questdb_server.await_count(2_998, f"{prefix}trades") == 2_998


def test_a_suspended_table_is_named_until_it_is_resumed(
        sink: QuestDBSink, questdb_server: QuestDBServer, prefix: str) -> None:
    assert sink.trouble() == ""
    questdb_server.sql(f"ALTER TABLE {prefix}trades SUSPEND WAL")
    assert f"table {prefix}trades is suspended" in sink.trouble()
    assert sink.write(batch_of(10), CATALOGUE).accepted == 10
    questdb_server.sql(f"ALTER TABLE {prefix}trades RESUME WAL")
    assert questdb_server.await_count(10, f"{prefix}trades") == 10
    assert sink.trouble() == ""


HEALTH = {"exchange": "binance", "market_type": SPOT, "connections": 2, "trades": 7, "lag_ms": 1.5, "gaps": 0,
          "status": "degraded", "last_trade_time": 1_795_000_000_123_456_789, "message_count": 5,
          "error_message": "it's closed: '); DROP TABLE trades"}
NO_TRADE = {**HEALTH, "market_type": FUTURES, "status": "connected", "last_trade_time": 0, "error_message": ""}
EVENT = ListingEvent("data/ZKP", 1, ("binance", "okx"))


def listing_at(now: int) -> Listing:
    return Listing(source="upbit", notice_id="4821", symbol="ZKP", title="it's a 제목", announced_at_ns=now,
                   detected_at_ns=now + 1, triggered_at_ns=now + 2_500_000)


def test_listings_and_health_are_stored_once(
        sink: QuestDBSink, questdb_server: QuestDBServer, prefix: str) -> None:
    now = time.time_ns()
    for trades in (1, 2):
        sink.write_listing(listing_at(now), replace(EVENT, trades=trades))
    sink.write_health([HEALTH, NO_TRADE])
    sink.write_health([])
    questdb_server.await_count(1, f"{prefix}listing_events")
    questdb_server.await_count(2, f"{prefix}exchange_health")
    deadline = time.monotonic() + 30
    while (rows := questdb_server.sql("SELECT symbol, title, archive, trades, announced_at::long, trigger_delay_ms,"
                                      f" exchanges_with_data FROM {prefix}listing_events"))[0][3] != 2:
        assert time.monotonic() < deadline
    assert rows == [["ZKP", "it's a 제목", "data/ZKP", 2, now, 2.5, "binance,okx"]]
    health = questdb_server.sql("SELECT market_type, connections, lag_ms, status, last_trade_time::long, message_count,"
                                f" error_message FROM {prefix}exchange_health")
    assert sorted(health) == [
        ["futures", 2, 1.5, "connected", None, 5, None],
        ["spot", 2, 1.5, "degraded", 1_795_000_000_123_456_789, 5, "it's closed: '); DROP TABLE trades"]]


def test_tables_of_an_earlier_version_get_the_new_columns_and_keep_their_rows(
        questdb_server: QuestDBServer, prefix: str) -> None:
    """The statements are those of the first version."""
    questdb_server.sql(
        f"CREATE TABLE {prefix}exchange_health (timestamp TIMESTAMP_NS, exchange SYMBOL, market_type SYMBOL, connections INT,"
        " trades LONG, lag_ms DOUBLE, gaps LONG) TIMESTAMP(timestamp) PARTITION BY DAY TTL 30 DAYS WAL"
        " DEDUP UPSERT KEYS(timestamp, exchange, market_type)")
    questdb_server.sql(
        f"CREATE TABLE {prefix}listing_events (timestamp TIMESTAMP_NS, source SYMBOL, notice_id VARCHAR, symbol SYMBOL,"
        " title VARCHAR, detected_at TIMESTAMP_NS, triggered_at TIMESTAMP_NS, needs_body BOOLEAN, archive VARCHAR,"
        " trades LONG) TIMESTAMP(timestamp) PARTITION BY YEAR WAL DEDUP UPSERT KEYS(timestamp, source, notice_id, symbol)")
    before = time.time_ns() - 3_600_000_000_000
    questdb_server.sql(f"INSERT INTO {prefix}exchange_health VALUES ({before}, 'okx', 'spot', 1, 2, 3.0, 4)")
    sink = QuestDBSink(QuestDBOptions(addr=questdb_server.addr, table_prefix=prefix, candles=False))
    sink.open()
    sink.write_health([HEALTH])
    sink.write_listing(listing_at(time.time_ns()), EVENT)
    assert questdb_server.await_count(2, f"{prefix}exchange_health") == 2
    assert questdb_server.await_count(1, f"{prefix}listing_events") == 1
    assert questdb_server.sql(f"SELECT exchange, trades, status FROM {prefix}exchange_health") == [
        ["okx", 2, None], ["binance", 7, "degraded"]]
    sink.close()


def test_reading_a_whole_roster_takes_no_longer_statement_than_a_few_symbols(
        sink: QuestDBSink, questdb_server: QuestDBServer, prefix: str) -> None:
    """With a statement that names each symbol the server drops the connection."""
    catalogue = catalogue_of(3_000)
    batch = batch_of(20_000, instruments=6_000)
    sink.write(batch, catalogue)
    questdb_server.await_count(20_000, f"{prefix}trades")
    wanted = catalogue.names(range(0, 6_000, 2))
    found = sink.read(wanted, 0, 2**62, catalogue)
    expected = batch.take(batch.instrument % 2 == 0)
    assert_same(found.take(found.timestamp.argsort(kind="stable")), expected)


def test_what_is_read_in_pages_is_whole_also_where_many_have_one_time(
        sink: QuestDBSink, questdb_server: QuestDBServer, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(questdb_reading, "PAGE_ROWS", 100)
    batch = batch_of(2_000)
    timestamp = batch.timestamp // 10_000_000 * 10_000_000  # fifty each
    timestamp[300:1_000] = timestamp[300]
    batch = replace(batch, timestamp=timestamp)
    sink.write(batch, CATALOGUE)
    questdb_server.await_count(2_000, f"{prefix}trades")
    assert_same(read_all(sink, batch), batch.take(np.lexsort((batch.trade_id, batch.timestamp))))


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


def test_candles_are_made_anew_after_their_table_was_dropped(questdb_server: QuestDBServer, prefix: str) -> None:
    sink = QuestDBSink(QuestDBOptions(addr=questdb_server.addr, table_prefix=prefix))
    sink.open()
    questdb_server.sql(f"DROP TABLE {prefix}trades")
    sink.open()
    deadline = time.monotonic() + 30
    while {row[0] for row in questdb_server.sql("SELECT view_status FROM materialized_views()"
                                                f" WHERE view_name LIKE '{prefix}%'")} != {"valid"}:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    sink.close()


def test_a_statement_that_is_rejected_is_an_error_of_ours_and_has_the_servers_own_words(sink: QuestDBSink) -> None:
    with pytest.raises(ServiceUnavailable) as error:
        sink._server.exec("SELECT nonsense FROM")
    assert "HTTP 400" in error.value.message
    assert "SELECT nonsense FROM" in error.value.message
    assert "please report" in error.value.hint


@pytest.fixture
def elsewhere() -> Iterator[StubServer]:
    with StubServer() as stub:
        yield stub


def test_a_redirect_is_not_followed(elsewhere: StubServer, questdb_server: QuestDBServer, prefix: str) -> None:
    questdb_server.sql(f"CREATE TABLE {prefix}precious (a INT)")
    elsewhere.location = f"http://{questdb_server.addr}/exec?query=DROP%20TABLE%20{prefix}precious"
    sink = QuestDBSink(QuestDBOptions(addr=elsewhere.addr))
    sink._session = sink._server.session()
    for call in (sink.open, sink.keeping, sink.trouble, lambda: sink.read(names(), 0, 1, CATALOGUE),
                 lambda: sink.write_health([HEALTH])):
        with pytest.raises(ServiceUnavailable, match="redirect"):
            call()
    sink._session = sink._server.session()
    with pytest.raises(ServiceUnavailable, match="redirect"):
        sink.write(batch_of(1), CATALOGUE)
    assert questdb_server.count(f"{prefix}precious") == 0


def test_no_proxy_stands_between_a_host_and_its_own_questdb(
        elsewhere: StubServer, questdb_server: QuestDBServer, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://{elsewhere.addr}")
    sink = QuestDBSink(QuestDBOptions(addr=questdb_server.addr, table_prefix=prefix, candles=False))
    sink.open()
    assert sink.write(batch_of(10), CATALOGUE).accepted == 10
    sink.read(names(), 0, 2**62, CATALOGUE)
    assert elsewhere.asked == 0
    with pytest.raises(ServiceUnavailable):
        QuestDBSink(QuestDBOptions(addr="db.example.com:9000")).open()
    assert elsewhere.asked == 1, "another host is reached as the environment says"


def test_a_session_takes_nothing_from_the_environment_but_the_proxy_that_pumpwatch_takes(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text("machine db.example.com login me password secret\n", "utf-8")
    for name, value in (("NETRC", str(tmp_path / "netrc")), ("REQUESTS_CA_BUNDLE", "/nowhere"),
                        ("HTTP_PROXY", "http://u:p%2Fw@proxy:1"), ("NO_PROXY", "near.example.com")):
        monkeypatch.setenv(name, value)
    far, near = (Server(f"{name}.example.com:9000", "", "", False, "", 1.0).session() for name in ("db", "near"))
    for session in (far, near):
        asked = session.prepare_request(requests.Request("GET", "http://db.example.com:9000/exec"))
        assert "Authorization" not in asked.headers
        assert session.merge_environment_settings(asked.url, {}, False, None, None)["verify"] is True
    assert (far.proxies, near.proxies) == ({"http": "http://u:p%2Fw@proxy:1", "https": "http://u:p%2Fw@proxy:1"}, {})


def test_a_server_that_is_not_there_is_unavailable_and_says_how_to_start_one() -> None:
    sink = QuestDBSink(QuestDBOptions(addr="127.0.0.1:1"))
    for call in (sink.open, sink.trouble, lambda: sink.read(names(), 0, 1, CATALOGUE),
                 lambda: sink.write(batch_of(1), CATALOGUE)):
        with pytest.raises(ServiceUnavailable):
            call()
    with pytest.raises(ServiceUnavailable, match="packaging/questdb start"):
        sink.open()


def test_unknown_and_impossible_options_are_config_errors() -> None:
    for options, word in (({"adr": "x"}, "did you mean `addr`"), ({"ttl_days": -1}, "ttl_days"),
                          *(({"addr": addr}, "config: sinks.questdb: addr must be HOST:PORT") for addr in (
                              "127.0.0.1:nope", "localhost", "http://localhost:9000", "::1", "db:0", "db:70000", "a b:9000", "")),
                          ({"table_prefix": "a;b"}, "table_prefix")):
        with pytest.raises(ConfigError, match=word):
            options_of(Config(sinks={"questdb": options}), "sinks", "questdb", QuestDBOptions)
    for addr in ("db.example.com:9000", "[::1]:9000", "10.0.0.7:443"):
        assert QuestDBOptions(addr=addr).addr == addr
