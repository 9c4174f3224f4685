"""A query takes each trade once, in order, from the nearest place that holds it, and says where it came from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pumpwatch_plugins.sinks.questdb import QuestDBOptions, QuestDBSink

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_S, Clock, FakeClock
from pumpwatch.config import Config, StoreConfig
from pumpwatch.errors import ServiceUnavailable, StorageError, UsageError
from pumpwatch.model import FUTURES, SPOT, TradeBatch
from pumpwatch.stats import Stats
from pumpwatch.store.journal import Journal
from pumpwatch.store.query import find, merged, trades_command
from pumpwatch.store.recent import Recent
from tests.conftest import Cli
from tests.questdb_server import QuestDBServer
from tests.trades import batch_of, catalogue_of

CATALOGUE = catalogue_of()
START = 1_700_000_000 * NS_PER_S
TRADES = batch_of(1_000, start_ns=START, step_ns=NS_PER_S // 100)  # ten seconds
END = START + 10 * NS_PER_S


class Place:
    """Holds trades from a time on; `asked` is the ranges it was asked for."""

    def __init__(self, from_ns: int = 0, problem: Exception | None = None) -> None:
        self.covers_from_ns = from_ns
        self.asked: list[tuple[int, int]] = []
        self._problem = problem

    def __call__(self, names: Sequence[Any], start_ns: int, end_ns: int) -> TradeBatch:
        self.asked.append((start_ns, end_ns))
        if self._problem:
            raise self._problem
        rows = (TRADES.timestamp >= max(start_ns, self.covers_from_ns)) & (TRADES.timestamp < end_ns)
        rows &= np.isin(TRADES.instrument, [CATALOGUE.ids_of(name[:2])[name[2]] for name in names])
        return TRADES.take(np.flatnonzero(rows)[::-1])

    def query(self, ids: Sequence[int], start_ns: int, end_ns: int) -> TradeBatch:
        return self(CATALOGUE.names(ids), start_ns, end_ns)

    def read(self, names: Sequence[Any], start_ns: int, end_ns: int, catalogue: Catalogue) -> TradeBatch:
        return self(names, start_ns, end_ns)


def expected(coin: str = "C1", start_ns: int = START, end_ns: int = END) -> list[int]:
    rows = np.isin(TRADES.instrument, CATALOGUE.matching(coin))
    return TRADES.trade_id[rows & (TRADES.timestamp >= start_ns) & (TRADES.timestamp < end_ns)].tolist()


def test_what_memory_covers_is_not_asked_elsewhere() -> None:
    recent, journal, sink = Place(START), Place(), Place()
    found = find("C1", START, END, catalogue=CATALOGUE, recent=recent, journal_query=journal, sinks={"q": sink})  # type: ignore[dict-item]
    assert found.batch.trade_id.tolist() == expected()
    assert [part.source for part in found.parts] == ["recent"]
    assert journal.asked == sink.asked == []


def test_each_place_is_asked_for_its_part_of_the_range() -> None:
    recent, journal, sink = Place(START + 8 * NS_PER_S), Place(START + 4 * NS_PER_S), Place()
    found = find("C1", START, END, catalogue=CATALOGUE, recent=recent, journal_query=journal, sinks={"q": sink},  # type: ignore[dict-item]
                 journal_from_ns=START + 4 * NS_PER_S)
    assert found.batch.trade_id.tolist() == expected()
    assert recent.asked == [(START + 8 * NS_PER_S, END)]
    assert journal.asked == [(START, START + 8 * NS_PER_S)]
    assert sink.asked == [(START, START + 4 * NS_PER_S)]
    assert sum(part.rows for part in found.parts) == len(found.batch)
    assert [part.source for part in found.parts] == ["recent", "journal", "q"]


def test_a_trade_held_twice_is_given_once() -> None:
    found = find("C1", START, END, catalogue=CATALOGUE, journal_query=Place(), sinks={"q": Place()})  # type: ignore[dict-item]
    assert found.batch.trade_id.tolist() == expected()
    assert [part.rows for part in found.parts] == [len(expected())] * 2


def test_a_place_that_cannot_answer_is_named_and_the_others_answer() -> None:
    away = Place(problem=ServiceUnavailable("QuestDB does not answer"))
    torn = Place(problem=StorageError("the disk is gone"))
    found = find("C1", START, END, catalogue=CATALOGUE, journal_query=torn, sinks={"a": away, "b": Place()},  # type: ignore[dict-item]
                 journal_from_ns=START)
    assert found.batch.trade_id.tolist() == expected()
    assert [(part.source, part.problem) for part in found.parts] == [
        ("journal", "the disk is gone"), ("a", "QuestDB does not answer"), ("b", "")]


def test_an_unknown_coin_asks_nobody() -> None:
    journal = Place()
    found = find("NOSUCH", START, END, catalogue=CATALOGUE, journal_query=journal)
    assert (len(found.batch), found.parts, journal.asked) == (0, [], [])


@given(st.lists(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.sampled_from(["1", "2", "x", "yy", "01"])),
                         max_size=8), max_size=4))
def test_merging_keeps_one_of_each_identity_in_order(held: list[list[tuple[int, int, str]]]) -> None:
    batches = []
    for rows in held:
        batch = batch_of(len(rows)).take(slice(0, len(rows)))
        texts = [text for *_, text in rows]
        odd = np.array([b"" if text in "12" else text.encode() for text in texts], "S4")
        batches.append(TradeBatch(
            np.array([row[0] for row in rows], np.int64), np.array([row[1] for row in rows], np.int32),
            *batch.columns()[2:5],  # type: ignore[arg-type]
            np.array([int(text) if text in "12" else 0 for text in texts], np.int64), *batch.columns()[6:9],  # type: ignore[arg-type]
            odd if any(odd) else None))
    found = merged(batches)
    rows = list(zip(found.timestamp.tolist(), found.instrument.tolist(), found.id_texts(), strict=True))
    assert len(rows) == len(set(rows))
    assert set(rows) == {row for rows in held for row in rows}
    assert [row[0] for row in rows] == sorted(row[0] for row in rows)


def stored(folder: Path, batches: Sequence[TradeBatch], catalogue: Catalogue, clock: Clock) -> None:
    journal = Journal(folder, catalogue, clock, Stats())
    journal.open()
    for batch in batches:
        journal.commit([batch])
    journal.close()


def test_memory_and_journal_together_give_every_trade_once(tmp_path: Path) -> None:
    """As a collector does: committed, then remembered; memory is too short for all of it."""
    journal = Journal(tmp_path, CATALOGUE, FakeClock(START), Stats())
    journal.open()
    recent = Recent(minutes=4 / 60, bucket_s=1.0)
    for start in range(0, 1_000, 70):
        batch = TRADES.take(slice(start, start + 70))
        journal.commit([batch])
        recent.add(batch)
    found = find("C1", START, END, catalogue=CATALOGUE, recent=recent, journal_query=journal.query)
    journal.close()
    assert found.batch.trade_id.tolist() == expected()
    assert [part.source for part in found.parts] == ["recent", "journal"]
    assert all(part.rows for part in found.parts)


def test_the_command_reads_a_data_folder_that_nobody_collects_into(tmp_path: Path) -> None:
    stored(tmp_path, [TRADES], CATALOGUE, FakeClock(START))
    config = Config(store=StoreConfig(dir=str(tmp_path)))
    batch, catalogue, parts = trades_command(config, "c1", START + NS_PER_S, START + 3 * NS_PER_S)
    assert batch.trade_id.tolist() == expected("C1", START + NS_PER_S, START + 3 * NS_PER_S)
    assert {catalogue.instruments[number].symbol for number in batch.instrument.tolist()} == {"C1USDT"}
    assert [(part.source, part.rows) for part in parts] == [("journal", len(batch))]


@pytest.mark.parametrize("market", [SPOT, FUTURES])
def test_the_command_keeps_to_one_market(tmp_path: Path, market: str) -> None:
    stored(tmp_path, [TRADES], CATALOGUE, FakeClock(START))
    config = Config(store=StoreConfig(dir=str(tmp_path)))
    batch, catalogue, _ = trades_command(config, "C1", START, END, "binance", market)
    assert {catalogue.venues[number] for number in batch.instrument.tolist()} == {("binance", market)}
    assert len(trades_command(config, "C1", START, END, "gate", market)[0]) == 0


def test_an_exchange_that_nobody_knows_is_refused_and_one_that_is_only_stored_is_not(tmp_path: Path) -> None:
    config = Config(store=StoreConfig(dir=str(tmp_path)))
    catalogue = Catalogue()
    catalogue.add(("bygone", SPOT), CATALOGUE.instruments[0])
    stored(tmp_path, [batch_of(1, start_ns=START, instruments=1)], catalogue, FakeClock(START))
    assert len(trades_command(config, "C0", START, END, "bygone")[0]) == 1
    with pytest.raises(UsageError, match=r"no exchange `elsewhere`\n  known: binance, .*bygone"):
        trades_command(config, "C0", START, END, "elsewhere")
    with pytest.raises(UsageError, match=r"`bygone` with a market `futures`\n  known: .*bygone spot"):
        trades_command(config, "C0", START, END, "bygone", FUTURES)


@pytest.mark.parametrize(("words", "code", "says"), [
    (("C11", "--from", "-20m"), 0, "0 trades of C11\nno such coin is stored in data; nearest: C1"),
    (("NOTHINGLIKEIT",), 0, "nearest: none\n"),
    (("C1", "--from", "now", "--to", "-20m"), 2, "pumpwatch: --from is after --to"),
    (("C1", "--exchange", "binanse"), 2, "pumpwatch: no exchange `binanse`"),
])
def test_the_command_says_when_it_cannot_find_what_is_meant(
        cli: Cli, tmp_path: Path, words: Sequence[str], code: int, says: str) -> None:
    stored(tmp_path / "data", [TRADES], CATALOGUE, FakeClock(START))
    done = cli("trades", *words)
    assert (done.returncode, done.stdout) == (code, "")
    assert says in done.stderr
    assert "no such coin" not in cli("trades", "C1").stderr


def test_the_command_finds_in_questdb_what_the_journal_no_longer_has(
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
    batch, _, parts = trades_command(config, "C2", now - 90 * NS_PER_S, now)
    assert batch.trade_id.tolist() == wanted
    assert [part.source for part in parts] == ["journal", "questdb"]
    assert sum(part.rows for part in parts) == len(wanted)

    nothing = Config(store=StoreConfig(dir=str(tmp_path / "none")), sinks=options)
    batch, catalogue, parts = trades_command(nothing, "C2", now - 90 * NS_PER_S, now)
    assert batch.trade_id.tolist() == wanted
    assert sorted(catalogue.names(range(len(catalogue)))) == [
        ("binance", FUTURES, "C2USDT"), ("binance", SPOT, "C2USDT")]
    assert [part.source for part in parts] == ["questdb"]


def test_a_questdb_that_is_away_does_not_hide_the_journal(tmp_path: Path) -> None:
    stored(tmp_path, [TRADES], CATALOGUE, FakeClock(START + NS_PER_S))
    config = Config(store=StoreConfig(dir=str(tmp_path)), sinks={"questdb": {"addr": "127.0.0.1:1"}})
    batch, _, parts = trades_command(config, "C1", START, END)
    assert batch.trade_id.tolist() == expected()
    assert [part.source for part in parts] == ["journal", "questdb"]
    assert "127.0.0.1:1 does not answer" in parts[1].problem
