"""The process ends with its input, tells its state, and says why it cannot go on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from pumpwatch.clock import FakeClock
from pumpwatch.config import load
from pumpwatch.errors import StorageError
from pumpwatch.market.market_file import FILE_NAME
from pumpwatch.market.process import MarketJobs
from pumpwatch.market.sqlite_store import SqliteCandleStore
from tests.market.live_journal import START_NS, LiveJournal


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
    assert {row["name"] for row in said["jobs"]} == {"candles", "candle retention", "candle upkeep", "candle check"}
    child.stdin.close()
    assert child.wait(60) == 0
    child.stdout.close()


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
    for job in (jobs.retain, jobs.upkeep, jobs.check):
        job()
    assert told[-1]["figures"]["flaws"] == 0
    assert told[-1]["figures"]["problems"] == {}
    store.close()
    live.journal.close()


def test_a_clock_far_in_the_past_keeps_every_candle(tmp_path: Path) -> None:
    store = SqliteCandleStore(tmp_path / FILE_NAME)
    jobs = MarketJobs(config_of(tmp_path), store, lambda line: None, FakeClock(0))
    for job in (jobs.candles, jobs.retain):
        job()
    assert store.series() == []
    store.close()
