"""`python -m tests.market.killed_jobs`: does jobs of the market process, each in a process of its own that may be killed inside.

It reads a JSON object a line: journal and store (folders), job, now_ns, and kill_at: the process kills itself at this step of
SQLite, each of STEP instructions; -1 for never. It answers with a line: the steps of a job that came to its end, -1 of one that
was killed.
The processes are forked after all imports.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

from gevent import get_hub

from pumpwatch.clock import FakeClock
from pumpwatch.config import Config, load
from pumpwatch.market import process
from pumpwatch.market.process import MarketJobs
from pumpwatch.market.sqlite_store import SqliteCandleStore
from pumpwatch.plugins import load_plugins
from pumpwatch.venue import HttpRequest, Venue

STEP = 20
METHODS = {"candles": "candles", "candle history": "fetch", "candle packing": "pack", "candle retention": "retain",
           "candle upkeep": "upkeep", "candle check": "check"}  # of MarketJobs, by the names of its scheduler


def klines(venue: Venue, request: HttpRequest) -> bytes:
    """Answer as Binance: a candle in each minute that was asked for, whose figures go by its time."""
    first, end = (int(request.params[name]) // 60_000 for name in ("startTime", "endTime"))
    return json.dumps([[at * 60_000, "2", "4", "1", "3", str(1 + at % 7), at * 60_000 + 59_999, "9", 3, "1", "2", "0"]
                       for at in range(first, end + 1)]).encode()


def config_of(journal: str) -> Config:
    """Return a config of Binance with minutes kept for two days."""
    return load(None, {"PUMPWATCH_STORE__DIR": journal, "PUMPWATCH_MARKET__MINUTE_DAYS": "2",
                       "PUMPWATCH_SYMBOLS_FILE": str(Path(journal) / "symbols.json")})


def to_the_end(jobs: MarketJobs, store: SqliteCandleStore) -> None:
    """Make candles until nothing is left to do."""
    before: dict[str, str] | None = None
    while before != (before := store.marks()):
        jobs.candles()


def do(order: dict[str, Any]) -> int:
    """Do a job, and return its steps."""
    store = SqliteCandleStore(Path(order["store"]))
    assert store.file.set_aside is None
    told: list[dict[str, Any]] = []
    jobs = MarketJobs(config_of(order["journal"]), store, told.append, FakeClock(order["now_ns"]))
    jobs.history._ask = klines
    steps = 0

    def step() -> None:
        nonlocal steps
        if steps == order["kill_at"]:
            os.kill(os.getpid(), signal.SIGKILL)
        steps += 1

    if order["job"] == "candle history":
        to_the_end(jobs, store)
    store.file.connection.set_progress_handler(step, STEP)
    if order["job"] == "candles":
        to_the_end(jobs, store)
    else:
        getattr(jobs, METHODS[order["job"]])()
    assert told[-1]["figures"]["problems"] == {}, told[-1]
    assert told[-1]["figures"]["flaws"] == 0, told[-1]
    return steps


def in_a_process(order: dict[str, Any]) -> int:
    """Do a job in a process of its own; return its steps, -1 where it was killed. Raises AssertionError where it failed."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.write(theirs, b"%d" % do(order))
            code = 0
        except Exception:
            traceback.print_exc()
            raise
        finally:
            os._exit(code)
    os.close(theirs)
    with os.fdopen(ours, "rb") as pipe:
        steps = pipe.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, -signal.SIGKILL), f"{order}: exit code {code}"
    return -1 if code else int(steps)


if __name__ == "__main__":
    plugins = load_plugins(Config())
    process.load_plugins = lambda config: plugins
    get_hub().destroy(destroy_loop=True)  # it cannot be forked
    for line in sys.stdin:
        print(in_a_process(json.loads(line)), flush=True)
