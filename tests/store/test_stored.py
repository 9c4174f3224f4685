"""Stored trades are found by a command, wherever they are, with or without a collector."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from pumpwatch_plugins.sinks.questdb import QuestDBOptions, QuestDBSink

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_S, Clock, FakeClock
from pumpwatch.config import Config, StoreConfig
from pumpwatch.model import FUTURES, SPOT, TradeBatch
from pumpwatch.plugins import load_plugins
from pumpwatch.stats import Stats
from pumpwatch.store.journal import Journal
from pumpwatch.store.stored import StoredTrades
from tests.conftest import Cli
from tests.questdb_server import QuestDBServer
from tests.trades import batch_of, catalogue_of

CATALOGUE = catalogue_of()
START = 1_700_000_000 * NS_PER_S
TRADES = batch_of(1_000, start_ns=START, step_ns=NS_PER_S // 100)  # ten seconds
END = START + 10 * NS_PER_S


def expected(coin: str = "C1", start_ns: int = START, end_ns: int = END) -> list[int]:
    rows = np.isin(TRADES.instrument, CATALOGUE.matching(coin))
    return TRADES.trade_id[rows & (TRADES.timestamp >= start_ns) & (TRADES.timestamp < end_ns)].tolist()


def stored(folder: Path, batches: Sequence[TradeBatch], catalogue: Catalogue, clock: Clock) -> None:
    journal = Journal(folder, catalogue, clock, Stats())
    journal.open()
    for batch in batches:
        journal.commit(batch)
    journal.close()


def test_nothing_is_stored_before_the_first_trade_unless_a_sink_may_have_it(tmp_path: Path) -> None:
    stored(tmp_path, [TRADES], CATALOGUE, FakeClock(START))
    config = Config(store=StoreConfig(dir=str(tmp_path)))
    trades = StoredTrades(config, load_plugins(config))
    assert trades.begins_ns() == START and trades.knows("c1") and not trades.knows("NOPE")
    config = Config(store=StoreConfig(dir=str(tmp_path)), sinks={"questdb": {}})
    trades = StoredTrades(config, load_plugins(config))
    assert trades.begins_ns() == 0 and trades.knows("NOPE")


def test_a_query_reads_a_data_folder_that_nobody_collects_into(tmp_path: Path) -> None:
    stored(tmp_path, [TRADES], CATALOGUE, FakeClock(START))
    config = Config(store=StoreConfig(dir=str(tmp_path)))
    trades = StoredTrades(config, load_plugins(config))
    found, catalogue = trades.of("c1", START + NS_PER_S, START + 3 * NS_PER_S), trades.catalogue
    batch, parts = found.batch, found.parts
    assert batch.trade_id.tolist() == expected("C1", START + NS_PER_S, START + 3 * NS_PER_S)
    assert {catalogue.instruments[number].symbol for number in batch.instrument.tolist()} == {"C1USDT"}
    assert [(part.source, part.rows) for part in parts] == [("journal", len(batch))]


@pytest.mark.parametrize("market", [SPOT, FUTURES])
def test_a_query_keeps_to_one_market(tmp_path: Path, market: str) -> None:
    stored(tmp_path, [TRADES], CATALOGUE, FakeClock(START))
    config = Config(store=StoreConfig(dir=str(tmp_path)))
    trades = StoredTrades(config, load_plugins(config))
    batch = trades.of("C1", START, END, "binance", market).batch
    assert {trades.catalogue.venues[number] for number in batch.instrument.tolist()} == {("binance", market)}
    assert len(trades.of("C1", START, END, "gate", market).batch) == 0


def test_an_exchange_that_nobody_knows_is_refused_and_one_that_is_only_stored_is_not(forked_cli: Cli, tmp_path: Path) -> None:
    catalogue = Catalogue()
    catalogue.add(("bygone", SPOT), CATALOGUE.instruments[0])
    stored(tmp_path / "data", [batch_of(1, start_ns=START, instruments=1)], catalogue, FakeClock(START))
    when = ("--from", str(START), "--to", str(END), "--csv")
    assert forked_cli("trades", "C0", "--exchange", "bygone", *when).stdout.count("bygone") == 1
    for words, says in (((), "no exchange `elsewhere`\n  known: binance, bybit, bygone"),
                        (("--market", "futures"), "`elsewhere` with a market `futures`")):
        refused = forked_cli("trades", "C0", "--exchange", "elsewhere", *words)
        assert refused.returncode == 2 and says in refused.stderr
    assert "`bygone` with a market `futures`\n  known: binance, bybit, bygone spot" in forked_cli(
        "trades", "C0", "--exchange", "bygone", "--market", "futures").stderr
    refused = forked_cli("gaps", "--exchange", "binanse")
    assert refused.returncode == 2 and "no exchange `binanse`" in refused.stderr
    assert forked_cli("gaps", "--exchange", "okx").returncode == 0


@pytest.mark.parametrize(("words", "code", "says"), [
    (("C11", "--from", "-20m"), 0, "0 trades of C11\nno coin of this name is stored in {folder}/data; nearest: C1"),
    (("NOTHINGLIKEIT",), 0, "no coin of this name is stored in {folder}/data\n"),
    (("C1", "--from", "now", "--to", "-20m"), 2, "pumpwatch: --from is after --to"),
    (("C1", "--exchange", "binanse"), 2, "pumpwatch: no exchange `binanse`"),
])
def test_a_query_says_when_it_cannot_find_what_is_meant(
        forked_cli: Cli, tmp_path: Path, words: Sequence[str], code: int, says: str) -> None:
    stored(tmp_path / "data", [TRADES], CATALOGUE, FakeClock(START))
    done = forked_cli("trades", *words)
    assert (done.returncode, done.stdout) == (code, "")
    assert says.format(folder=tmp_path) in done.stderr
    assert "no coin of this name" not in forked_cli("trades", "C1").stderr


def test_a_query_finds_in_questdb_what_the_journal_no_longer_has(
        tmp_path: Path, questdb_server: QuestDBServer) -> None:
    now = Clock().now_ns()
    older, newer = (batch_of(500, start_ns=now - back * NS_PER_S, first_id=first, step_ns=1_000_000)
                    for back, first in ((60, 1), (2, 501)))
    sink = QuestDBSink(QuestDBOptions(addr=questdb_server.addr, table_prefix="query_", candles=False))
    sink.open()
    for batch in (older, newer):
        sink.write(batch, CATALOGUE)
    sink.close()
    questdb_server.await_count(1_000, "query_trades")
    stored(tmp_path, [newer], CATALOGUE, FakeClock(now - 30 * NS_PER_S))
    options = {"questdb": {"addr": questdb_server.addr, "table_prefix": "query_"}}
    both = TradeBatch.concat([older, newer])
    wanted = both.trade_id[np.isin(both.instrument, CATALOGUE.matching("C2"))].tolist()

    config = Config(store=StoreConfig(dir=str(tmp_path)), sinks=options)
    found = StoredTrades(config, load_plugins(config)).of("C2", now - 90 * NS_PER_S, now)
    batch, parts = found.batch, found.parts
    assert batch.trade_id.tolist() == wanted
    assert [part.source for part in parts] == ["journal", "questdb"]
    assert sum(part.rows for part in parts) == len(wanted)

    nothing = Config(store=StoreConfig(dir=str(tmp_path / "none")), sinks=options)
    trades = StoredTrades(nothing, load_plugins(nothing))
    found, catalogue = trades.of("C2", now - 90 * NS_PER_S, now), trades.catalogue
    batch, parts = found.batch, found.parts
    assert batch.trade_id.tolist() == wanted
    assert sorted(catalogue.names(range(len(catalogue)))) == [
        ("binance", FUTURES, "C2USDT"), ("binance", SPOT, "C2USDT")]
    assert [part.source for part in parts] == ["questdb"]


def test_a_questdb_that_is_away_does_not_hide_the_journal(tmp_path: Path) -> None:
    stored(tmp_path, [TRADES], CATALOGUE, FakeClock(START + NS_PER_S))
    config = Config(store=StoreConfig(dir=str(tmp_path)), sinks={"questdb": {"addr": "127.0.0.1:1"}})
    found = StoredTrades(config, load_plugins(config)).of("C1", START, END)
    batch, parts = found.batch, found.parts
    assert batch.trade_id.tolist() == expected()
    assert [part.source for part in parts] == ["journal", "questdb"]
    assert "127.0.0.1:1 does not answer" in parts[1].problem
