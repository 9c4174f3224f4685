"""The process ends with its input, tells its state, and says why it cannot go on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from pumpwatch.clock import NS_PER_S, FakeClock
from pumpwatch.config import ExchangeConfig, load
from pumpwatch.errors import StorageError
from pumpwatch.market.aggregate import write_minutes
from pumpwatch.market.candle_columns import CandleColumns
from pumpwatch.market.candle_keeper import CandleKeeper
from pumpwatch.market.candle_retention import DAY_NS
from pumpwatch.market.intervals import MINUTE_NS
from pumpwatch.market.market_file import FILE_NAME
from pumpwatch.market.process import MarketJobs
from pumpwatch.market.sqlite_store import SqliteCandleStore
from pumpwatch.market.upkeep import CandleUpkeep
from pumpwatch.store.coverage import CoverageFile
from tests.market.live_journal import START_NS, LiveJournal
from tests.market.store_contract import ALL, START, A, candles, same
from tests.trades import VENUES


def config_of(folder: Path):
    return load(None, {"PUMPWATCH_STORE__DIR": str(folder), "PUMPWATCH_MARKET__HISTORY": "false"})


def test_it_tells_its_state_and_ends_with_its_input(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-P", "-c", "from pumpwatch.market.process import serve; serve()"],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(msgspec.json.encode(config_of(tmp_path)) + b"\n")
    child.stdin.flush()
    while not (said := json.loads(child.stdout.readline())).get("jobs"):
        pass
    assert {row["name"] for row in said["jobs"]} == {"candles", "candle retention", "candle packing",
                                                 "candle upkeep", "candle check"}
    child.stdin.close()
    assert child.wait(60) == 0
    child.stdout.close()


def test_an_authority_that_is_gone_is_one_line_and_not_a_traceback(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    lost = config.changed(net=msgspec.structs.replace(config.net, ca_file=str(tmp_path / "gone.pem")))
    with subprocess.Popen([sys.executable, "-P", "-c", "from pumpwatch.market.process import serve; serve()"],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdin is not None and child.stdout is not None and child.stderr is not None
        child.stdin.write(msgspec.json.encode(lost) + b"\n")
        child.stdin.flush()
        said, complaint = json.loads(child.stdout.read()), child.stderr.read()
        assert child.wait(60) == 78 and not complaint
    assert "gone.pem" in said["failed"] and said["for_good"]


def test_a_store_that_refuses_is_told_once_and_is_good_again_later(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    live, told = LiveJournal(tmp_path), []
    store = SqliteCandleStore(tmp_path / FILE_NAME)
    jobs = MarketJobs(config_of(tmp_path), store, told.append, live.clock)
    live.commit(live.trades(100, 1, START_NS, 10**9))
    live.clock.advance(300)
    good = jobs.keeper.run

    def refuse() -> None:
        raise StorageError("the disk is full")

    jobs.keeper.run = refuse
    jobs.candles()
    jobs.candles()
    assert told[-1]["figures"]["problems"] == {"candles": "the disk is full"}
    assert len([line for line in caplog.messages if "the disk is full" in line]) == 1
    jobs.keeper.run = good
    jobs.candles()
    assert told[-1]["figures"]["problems"] == {}
    assert told[-1]["figures"]["candles"] > 0
    for job in (jobs.retain, jobs.pack, jobs.upkeep, jobs.check):
        job()
    assert {"retention", "packing", "check"} <= CandleUpkeep(store).report()["upkeep"].keys()
    assert told[-1]["figures"]["flaws"] == 0
    assert told[-1]["figures"]["problems"] == {}
    store.close()
    live.journal.close()


def test_the_check_finds_longer_candles_that_disagree_with_their_minutes(tmp_path: Path) -> None:
    store, told = SqliteCandleStore(tmp_path / FILE_NAME), []
    clock = FakeClock(START + 3 * DAY_NS)
    jobs = MarketJobs(config_of(tmp_path), store, told.append, clock)
    write_minutes(store, [A], candles(list(range(1000))), clock.now_ns())
    jobs.check()
    assert told[-1]["figures"]["flaws"] == 0
    store.write("5m", [A], CandleColumns.empty(), removed=[(A, START)])
    jobs.check()
    assert told[-1]["figures"]["flaws"] >= 1
    assert CandleUpkeep(store).noted_s("check") == clock.now_ns() // NS_PER_S
    store.close()


def test_a_store_that_the_check_finds_damaged_is_set_aside_at_the_next_start(tmp_path: Path) -> None:
    store = SqliteCandleStore(tmp_path / FILE_NAME)
    jobs = MarketJobs(config_of(tmp_path), store, lambda line: None, FakeClock(START + 3 * DAY_NS))
    store.write("1m", [A], candles(list(range(1000))))
    jobs.check()
    assert not store.file.damaged
    store.file.connection.execute("UPDATE blocks SET data = x'0102'")
    jobs.check()
    assert store.file.damaged
    store.close()
    again = SqliteCandleStore(tmp_path / FILE_NAME)
    assert again.file.set_aside is not None
    again.close()


def test_a_file_that_is_overwritten_is_noticed_though_its_pages_are_in_memory(tmp_path: Path) -> None:
    store = SqliteCandleStore(tmp_path / FILE_NAME)
    store.write("1m", [A], candles([0]))
    jobs = MarketJobs(config_of(tmp_path), store, lambda line: None, FakeClock(START + 3 * DAY_NS))
    jobs.candles()
    assert not store.file.damaged
    for name in (FILE_NAME, f"{FILE_NAME}-wal"):
        path = tmp_path / name
        path.write_bytes(b"\xa5" * path.stat().st_size)
    jobs.candles()
    assert store.file.damaged


def test_the_history_of_earlier_days_is_asked_for_where_the_config_wants_it(tmp_path: Path) -> None:
    live = LiveJournal(tmp_path)
    file = CoverageFile(tmp_path)
    file.watch(VENUES[0], frozenset({"C0USDT"}), START_NS)
    file.close()
    live.commit(live.trades(10, 1, START_NS, 10**9))
    live.clock.advance(600)
    asked: dict[float, tuple[int, int]] = {}
    for days in (1.0, 3.0):
        config = config_of(tmp_path)
        config.market.history_days = days
        config.exchanges = {"binance": ExchangeConfig()}
        store = SqliteCandleStore(tmp_path / FILE_NAME)
        jobs = MarketJobs(config, store, lambda line: None, live.clock)
        jobs.candles()
        given: list[tuple[dict, dict]] = []
        jobs.history.fetch = lambda venue, facts, wanted, marks, within_s, given=given: given.append((facts, wanted))
        jobs.keeper = CandleKeeper(tmp_path, store, live.clock)  # as after a restart: no pass has read the journal
        jobs.keeper._look()
        jobs.fetch()
        ((facts, wanted),) = given
        assert facts["C0USDT"].base == "C0"
        asked[days] = (live.clock.now_ns() // MINUTE_NS - wanted["C0USDT"][0][0], len(wanted["C0USDT"]))
        store.close()
    assert asked == {1.0: (1440, 1), 3.0: (3 * 1440, 1)}
    live.journal.close()


def test_packing_makes_blocks_of_what_is_over(tmp_path: Path) -> None:
    store = SqliteCandleStore(tmp_path / FILE_NAME)
    jobs = MarketJobs(config_of(tmp_path), store, lambda line: None, FakeClock(START + 3 * DAY_NS))
    for first in range(0, 1000, 50):  # too few at a time to become a block at once
        store.write("1m", [A], candles(list(range(first, first + 50))))
    before = store.read(A, "1m", *ALL)
    assert store.file.rows("SELECT count(*) FROM blocks")[0][0] == 0
    jobs.pack()
    assert store.file.rows("SELECT count(*) FROM candles")[0][0] == 0
    assert same(store.read(A, "1m", *ALL), before)
    store.close()


def test_a_clock_far_in_the_past_keeps_every_candle(tmp_path: Path) -> None:
    store = SqliteCandleStore(tmp_path / FILE_NAME)
    jobs = MarketJobs(config_of(tmp_path), store, lambda line: None, FakeClock(0))
    for job in (jobs.candles, jobs.retain):
        job()
    assert store.series() == []
    store.close()
