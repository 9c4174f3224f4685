"""The process that makes market data, so that recording is never slowed: low priority, one thread for the store, jobs by time.

It reads the configuration from its standard input as a line of JSON, and ends when that input ends. It prints its state, and
whatever it logs, as lines of JSON.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import gevent
import msgspec
from gevent.threadpool import ThreadPool

from pumpwatch.clock import NS_PER_S, Clock, ClockWatch
from pumpwatch.config import Config
from pumpwatch.errors import ConfigError, PumpWatchError
from pumpwatch.market.candle_keeper import CandleKeeper
from pumpwatch.market.interfaces import CandleStore
from pumpwatch.market.sqlite_store import SqliteCandleStore
from pumpwatch.ops.schedule import Scheduler

log = logging.getLogger(__name__)

NICE = 10
CANDLES_S, CANDLES_AT_S = 60.0, 3.0  # each minute, three seconds after the full one
HISTORY_S, RETENTION_S, CHECK_S = 180.0, 86_400.0, 7 * 86_400.0
FIRST_HISTORY_S, FIRST_RETENTION_S = 20.0, 300.0  # after the start
STATE_S = 5.0
MAY_LAST_S = 3600.0


class MarketJobs:
    """The jobs of the process. `tell` takes its state."""

    def __init__(self, config: Config, store: CandleStore, tell: Callable[[dict[str, Any]], None], clock: Clock | None = None) -> None:
        self._clock, self._tell, self._options = clock or Clock(), tell, config.market
        self._thread = ThreadPool(1)  # for the store, which belongs to one thread
        self._store = store
        self.keeper = CandleKeeper(Path(config.store.dir), store, self._clock)
        self.scheduler = Scheduler(self._clock)
        self._clock_watch = ClockWatch(self._clock)
        self._problems: dict[str, str] = {}
        self._flaws = 0

    def start(self) -> None:
        """Start the scheduler with every job."""
        logging.getLogger("apscheduler").setLevel(logging.ERROR)
        self._every("candles", CANDLES_S, self.candles, 0.0)
        self._every("candle retention", RETENTION_S, self.retain, FIRST_RETENTION_S)
        self._every("candle check", CHECK_S, self.check, CHECK_S)
        self.scheduler.start()
        past_minute = self._clock.now_ns() % (60 * NS_PER_S) / NS_PER_S
        wait_s = (CANDLES_AT_S - past_minute) % CANDLES_S
        self.scheduler.modify_job("candles", next_run_time=datetime.now(UTC) + timedelta(seconds=wait_s if wait_s > 5 else 0))

    def _every(self, name: str, seconds: float, job: Callable[[], None], first_s: float) -> None:
        self.scheduler.add_job(job, "interval", seconds=seconds, id=name, name=name, lasts_s=MAY_LAST_S,
                               next_run_time=datetime.now(UTC) + timedelta(seconds=first_s))

    def candles(self) -> None:
        """Make the candles of what was recorded since the last time."""
        self._do("candles", self.keeper.run)

    def retain(self) -> None:
        """Remove candles that are too old."""
        days = self._options
        kept = {"1m": days.minute_days, "5m": days.quarter_days, "15m": days.quarter_days, "1h": days.hour_days,
                "4h": days.hour_days, "1d": days.hour_days}
        for interval, most in kept.items():
            if most:
                before_ns = self._clock.now_ns() - most * 86_400 * NS_PER_S
                self._do("candle retention", lambda interval=interval, before_ns=before_ns: self._store.remove_before(  # type: ignore[misc]
                    interval, before_ns))

    def check(self) -> None:
        """Look for contradictions in the store, and log them."""
        def work() -> None:
            flaws = self._store.check()
            self._flaws = len(flaws)
            for flaw in flaws[:10]:
                log.warning("candle store has a flaw kind=%s interval=%s series=%s detail=%s", flaw.kind, flaw.interval,
                            flaw.series, flaw.detail)
        self._do("candle check", work)

    def _do(self, name: str, work: Callable[[], object]) -> None:
        """Do a piece of work in the store's thread; log when it begins to fail, and when it is good again."""
        try:
            self._thread.apply(work)
        except PumpWatchError as error:
            if name not in self._problems:
                log.warning("%s: not done, it is tried again reason=%s", name, error)
            self._problems[name] = error.message
        else:
            if self._problems.pop(name, None) is not None:
                log.info("%s: good again", name)
        self.tell()

    def tell(self) -> None:
        """Tell the state."""
        self._tell({"figures": {**self.keeper.figures(), "flaws": self._flaws, "problems": dict(self._problems)},
                    "jobs": self.scheduler.rows()})

    def run(self) -> None:
        """Tell the state every few seconds, for ever."""
        while True:
            self.tell()
            gevent.sleep(STATE_S)
            if self._clock_watch.check():
                self.scheduler.reschedule_all()


class LogLines(logging.Handler):
    """Sends what is logged to the collector, whose log it belongs in."""

    def __init__(self, tell: Callable[[dict[str, Any]], None]) -> None:
        super().__init__(logging.INFO)
        self._tell_line = tell

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record."""
        self._tell_line({"log": record.getMessage(), "level": record.levelno})


def print_line(line: dict[str, Any]) -> None:
    """Print a line of JSON; nothing where nobody reads any more."""
    with suppress(OSError):
        os.write(1, msgspec.json.encode(line) + b"\n")


def end_with_input() -> None:
    """End this process when its input ends, whatever it does then: what the store holds is whole at every moment."""
    while os.read(0, 4096):
        pass
    os._exit(0)


def serve() -> None:
    """Make market data until standard input ends. This is the body of the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the collector, which ends this process
    with suppress(OSError):
        os.nice(NICE)
    config = msgspec.json.decode(_first_line(), type=Config)
    threading.Thread(target=end_with_input, daemon=True).start()
    root = logging.getLogger()
    root.addHandler(LogLines(print_line))
    root.setLevel(logging.INFO)
    try:
        store = SqliteCandleStore(Path(config.store.dir))
    except PumpWatchError as error:
        print_line({"failed": error.message, "for_good": isinstance(error, ConfigError)})
        sys.exit(error.exit_code)
    jobs = MarketJobs(config, store, print_line)
    jobs.start()
    jobs.run()


def _first_line() -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        piece = os.read(0, 1 << 16)
        if not piece:
            sys.exit(0)
        line += piece
    return line
