"""Whenever the market process is killed, and in whichever job: once it has run again, its store is that of an undisturbed run."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np

from pumpwatch.instruments.symbols_file import SymbolsFile, VenueSymbols
from pumpwatch.market.aggregate import continuity_flaws
from pumpwatch.market.candle_columns import CandleColumns, CandleOrigin
from pumpwatch.market.intervals import INTERVALS_NS, MINUTE_NS
from pumpwatch.market.process import MarketJobs
from pumpwatch.market.sqlite_store import SqliteCandleStore
from pumpwatch.model import Gap, GapState
from pumpwatch.records import Records
from pumpwatch.store.coverage import CoverageFile
from tests.market.killed_jobs import METHODS, config_of
from tests.market.live_journal import START_NS, LiveJournal, assert_same
from tests.market.store_contract import ALL
from tests.trades import VENUES

OTHERS = ("candle packing", "candle upkeep", "candle check", "candle retention")
ROOT = Path(__file__).resolve().parents[2]
DAY_S = 86_400
GAP = {"exchange": "binance", "market_type": "spot", "symbol": "C0USDT", "from_ns": START_NS + 60 * 10**9,
       "to_ns": START_NS + 300 * 10**9, "reason": "connection lost"}


class Jobs:
    """Does jobs of the market process on a journal, for two stores: one calmly, one with kills at random moments."""

    def __init__(self, child: subprocess.Popen[str], live: LiveJournal, folder: Path) -> None:
        self._child, self._live, self._draw = child, live, random.Random(11)
        self.calm, self.killed, self.kills = folder / "calm", folder / "killed", 0
        self.calm.mkdir()
        self.killed.mkdir()

    def _do(self, store: Path, job: str, kill_at: int = -1) -> int:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        print(json.dumps({"journal": str(self._live.folder), "store": str(store), "job": job, "kill_at": kill_at,
                          "now_ns": self._live.clock.now_ns()}), file=self._child.stdin, flush=True)
        return int(self._child.stdout.readline())

    def do(self, job: str, kills: int) -> None:
        """Do a job: calmly, and so that it is killed up to so many times before it comes to its end."""
        steps = self._do(self.calm, job)
        for _ in range(kills):
            kill_at = int(steps * self._draw.random() ** 2)  # what is done stays done, so that later runs take fewer steps
            self.kills += self._do(self.killed, job, kill_at) == -1
        self._do(self.killed, job)

    def assert_same(self) -> SqliteCandleStore:
        """Compare the two stores; return the one of the kills."""
        calm, killed = SqliteCandleStore(self.calm), SqliteCandleStore(self.killed)
        assert calm.series() == killed.series() != []
        differing = []
        for interval in INTERVALS_NS:
            ours, theirs = (store.read_many(calm.series(), interval, *ALL) for store in (killed, calm))
            differing += [(interval, row) for row in set(rows_in(ours)) ^ set(rows_in(theirs))]
        assert differing == []
        assert killed.marks() == calm.marks()
        assert killed.check() == []
        calm.close()
        return killed


@contextmanager
def jobs_on(live: LiveJournal, folder: Path) -> Iterator[Jobs]:
    file = CoverageFile(live.folder)
    for venue in VENUES:
        file.watch(venue, frozenset({"C0USDT", "C1USDT"}), START_NS - 30 * MINUTE_NS)
    file.close()
    listed = SymbolsFile(str(live.folder / "symbols.json"))
    for exchange, market_type in VENUES:
        listed.put(f"{exchange}.{market_type}", VenueSymbols(START_NS, live.catalogue.instruments[::2], {}))
    listed.write()
    with subprocess.Popen([sys.executable, "-m", "tests.market.killed_jobs"], cwd=ROOT, stdin=subprocess.PIPE, text=True,
                          stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}) as child:
        assert child.stdin is not None
        try:
            yield Jobs(child, live, folder)
        finally:
            child.stdin.close()
            live.journal.close()


def rows_in(rows: CandleColumns) -> list[str]:
    return [repr(row) for row in zip(*(column.tolist() for column in rows.columns()), strict=True)]


def traded(live: LiveJournal, rows: int, first_id: int, start_s: int, step_s: int, *, twice: bool = False) -> None:
    batch = live.trades(rows, first_id, START_NS + start_s * 10**9, step_s * 10**9, seed=first_id)
    live.commit(batch)
    if twice:
        live.commit(batch.take(np.arange(0, rows, 2)))


def gap(live: LiveJournal, state: GapState) -> None:
    live.journal.record(Records(gaps=[Gap(**GAP, state=state)]))


def test_after_kills_while_it_follows_a_journal_all_candles_are_those_of_pandas(tmp_path: Path) -> None:
    live = LiveJournal(tmp_path / "journal")
    with jobs_on(live, tmp_path) as jobs:
        traded(live, 500, 1, 0, 3)
        gap(live, GapState.OPEN)
        live.clock.advance(1700)
        jobs.do("candles", 5)
        for hour in range(3):  # a segment each
            traded(live, 300, 1000 * (hour + 1), 3600 * hour + 1600, 10, twice=True)
            traded(live, 40, 1000 * (hour + 1) + 500, 60, 45)  # late
            live.clock.advance(3600)
            jobs.do("candles", 5)
        traded(live, 60, 9000, 60, 4)  # what fills the gap
        gap(live, GapState.FILLED)
        live.clock.advance(600)
        jobs.do("candles", 5)
        assert jobs.kills >= 10
        store = jobs.assert_same()
        assert len(list((live.folder / "journal").glob("*.sqlite"))) > 2
        for interval in INTERVALS_NS:
            found = {(name, at): (*row, count) for name in store.series() for rows in [store.read(name, interval, *ALL)]
                     for at, *row, count in zip(rows.timestamp.tolist(), *(column.tolist() for column in rows.columns()[2:7]),
                                                rows.trades.tolist(), strict=True)}
            assert_same(found, live.candles(live.clock.now_ns() // MINUTE_NS * MINUTE_NS, interval))
        assert store.read(("binance", "spot", "C0USDT"), "1h", *ALL).complete.any()
        assert continuity_flaws(store, 0, live.clock.now_ns()) == []
        store.close()


def test_each_job_that_is_killed_is_done_again_with_the_same_result(tmp_path: Path) -> None:
    live = LiveJournal(tmp_path / "journal")
    with jobs_on(live, tmp_path) as jobs:
        traded(live, 900, 1, 0, 4)
        gap(live, GapState.OPEN)
        live.clock.advance(4000)
        jobs.do("candles", 0)
        jobs.do("candle history", 5)
        store = jobs.assert_same()
        assert CandleOrigin.VENUE in store.read(("binance", "spot", "C0USDT"), "1m", *ALL).origin.tolist()
        store.close()
        traded(live, 200, 2000, 4 * DAY_S, 4)
        live.clock.advance(4 * DAY_S + 800)
        jobs.do("candles", 0)
        assert {"candles", "candle history", *OTHERS} == set(METHODS)
        for job in OTHERS:
            killed_before = jobs.kills
            jobs.do(job, 4)
            assert jobs.kills > killed_before
        traded(live, 30, 5000, 60, 50)  # late
        jobs.do("candles", 2)
        jobs.assert_same().close()


def test_these_are_all_jobs_of_the_process(tmp_path: Path) -> None:
    with closing(SqliteCandleStore(tmp_path)) as store:
        jobs = MarketJobs(config_of(str(tmp_path)), store, lambda line: None)
        jobs.start()
        assert {row["name"] for row in jobs.scheduler.rows()} == set(METHODS)
        jobs.scheduler.shutdown(wait=False)
