"""The process that makes market data, so that recording is not slowed: low priority, one thread for the store, scheduled jobs.

It reads the configuration from its standard input as a line of JSON, and ends when that input ends. It prints its state and its
log records as lines of JSON.
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
from gevent.hub import Hub
from gevent.threadpool import ThreadPool

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_S, Clock, ClockWatch
from pumpwatch.config import Config
from pumpwatch.errors import ConfigError, PumpWatchError, StorageError
from pumpwatch.market.aggregate import continuity_flaws
from pumpwatch.market.candle_columns import Series
from pumpwatch.market.candle_history import CandleHistory
from pumpwatch.market.candle_keeper import CandleKeeper
from pumpwatch.market.candle_retention import DAY_NS, kept_from, remove_expired
from pumpwatch.market.interfaces import Flaw
from pumpwatch.market.intervals import INTERVALS_NS, MINUTE, MINUTE_NS
from pumpwatch.market.minute_verdicts import Span
from pumpwatch.market.sink_candles import SinkCandles
from pumpwatch.market.sqlite_store import SqliteCandleStore
from pumpwatch.market.upkeep import CandleUpkeep
from pumpwatch.model import Instrument
from pumpwatch.net.http import Http
from pumpwatch.net.ws import tls_context
from pumpwatch.ops.candle_run import Budgets
from pumpwatch.ops.schedule import Scheduler
from pumpwatch.ops.verify_run import known_instruments
from pumpwatch.plugins import load_plugins
from pumpwatch.store.sqlite import DamagedError
from pumpwatch.venue import HttpRequest, Venue

log = logging.getLogger(__name__)

NICE = 10
CANDLES_S, CANDLES_AT_S = 60.0, 3.0  # each minute, three seconds after the full one
HISTORY_S, PACK_S, RETENTION_S, UPKEEP_S, CHECK_S = 180.0, 1800.0, 86_400.0, 3600.0, 7 * 86_400.0
SINKS_EVERY_S, SINKS_S, FIRST_SINKS_S = 60.0, 50.0, 30.0  # SINKS_S: of a run
FIRST_HISTORY_S, FIRST_RETENTION_S, FIRST_PACK_S = 20.0, 300.0, 400.0  # after the start
FIRST_UPKEEP_S, FIRST_CHECK_S = 600.0, 900.0
STATE_S = 5.0
MAY_LAST_S = 3600.0
CHECKED = "check"  # in the notes of upkeep


class MarketJobs:
    """The jobs of the process. report: called with the state of the process."""

    def __init__(self, config: Config, store: SqliteCandleStore, report: Callable[[dict[str, Any]], None],
                 clock: Clock | None = None) -> None:
        self._config, self._plugins = config, load_plugins(config)
        self._chosen = list(self._plugins.chosen(config))
        self._clock, self._report, self._options = clock or Clock(), report, config.market
        self._thread = ThreadPool(1)  # for the store, which belongs to one thread
        self._checking = ThreadPool(1)  # reads everything
        self._sink_thread = ThreadPool(1)
        self._store = store
        self.keeper = CandleKeeper(Path(config.store.dir), store, self._clock)
        self._http = Http(tls_context(config.net.ca_file), config.net.connect_timeout_s, config.net.proxy)
        self._budgets = Budgets(self._clock)
        self.history = CandleHistory(store, self._ask, self._clock, self._thread.apply, self.keeper.write)
        self._sinks: list[SinkCandles] | None = None  # made where a store was lost
        self.scheduler = Scheduler(self._clock)
        self._clock_watch = ClockWatch(self._clock)
        self._problems: dict[str, str] = {}
        self._flaws = 0

    def start(self) -> None:
        """Start the scheduler with every job."""
        logging.getLogger("apscheduler").setLevel(logging.ERROR)
        self._every("candles", CANDLES_S, self.candles, 0.0)
        self._every("candle retention", RETENTION_S, self.retain, FIRST_RETENTION_S)
        self._every("candle packing", PACK_S, self.pack, FIRST_PACK_S)
        self._every("candle upkeep", UPKEEP_S, self.upkeep, FIRST_UPKEEP_S)
        if self._options.history and self._options.history_days:
            self._every("candle history", HISTORY_S, self.fetch, FIRST_HISTORY_S)
        if self._config.sinks:
            self._every("candles of sinks", SINKS_EVERY_S, self.read_sinks, FIRST_SINKS_S)
        since_s = self._clock.now_ns() / NS_PER_S - CandleUpkeep(self._store).noted_s(CHECKED)
        self._every("candle check", CHECK_S, self.check, min(max(FIRST_CHECK_S, CHECK_S - since_s), CHECK_S))
        self.scheduler.start()
        past_minute = self._clock.now_ns() % (60 * NS_PER_S) / NS_PER_S
        wait_s = (CANDLES_AT_S - past_minute) % CANDLES_S
        self.scheduler.modify_job("candles", next_run_time=datetime.now(UTC) + timedelta(seconds=wait_s if wait_s > 5 else 0))

    def _every(self, name: str, seconds: float, job: Callable[[], None], first_s: float) -> None:
        self.scheduler.add_job(job, "interval", seconds=seconds, id=name, name=name, lasts_s=MAY_LAST_S,
                               next_run_time=datetime.now(UTC) + timedelta(seconds=first_s))

    def candles(self) -> None:
        """Make the candles of newly recorded trades, in rounds, until they have caught up."""
        behind = [True]

        def work() -> None:
            behind[0] = False
            behind[0] = self.keeper.run()

        while behind[0]:
            self._do("candles", work)  # other jobs get the store's thread in between
        self._do("candle file", self._open_again)

    def _open_again(self) -> None:
        """Open the file again, to detect damage that this process's page cache hides."""
        try:
            SqliteCandleStore(self._store.file.path, read_only=True).close()
        except DamagedError:
            self._store.file.remember_damage()
            raise

    def retain(self) -> None:
        """Remove expired candles."""
        def work() -> None:
            removed = remove_expired(self._store, self._clock.now_ns(), self._kept_days())
            self._note("retention", f"{sum(removed.values())} candles removed")
        self._do("candle retention", work)

    def _kept_days(self) -> dict[str, int]:
        """Return for how many days candles are kept, by interval; other intervals are kept without a limit."""
        options = self._options
        days = {"1m": options.minute_days, "5m": options.quarter_days, "15m": options.quarter_days,
                **dict.fromkeys(("1h", "4h", "1d"), options.hour_days)}
        return {interval: most for interval, most in days.items() if most}

    def _note(self, task: str, result: str) -> None:
        CandleUpkeep(self._store, lambda: self._clock.now_ns() / NS_PER_S).note(task, result)

    def pack(self) -> None:
        """Make blocks of the candles of stretches that are over."""
        def work() -> None:
            blocks = sum(self._store.pack(interval, self._clock.now_ns()) for interval in INTERVALS_NS)
            self._note("packing", f"{blocks} blocks made")
        self._do("candle packing", work)

    def upkeep(self) -> None:
        """Give free pages back, and refresh what the query planner knows."""
        def work() -> None:
            upkeep = CandleUpkeep(self._store)
            for step in (upkeep.give_back, upkeep.analyze, upkeep.note_queries):
                step()
        self._do("candle upkeep", work)

    def fetch(self) -> None:
        """Fetch candles of unrecorded times from the venues, with one greenlet per venue."""
        marks: dict[str, str] = {}
        missing: dict[str, dict[str, list[Span]]] = {}
        facts: dict[Series, Instrument] = {}
        oldest = (self._clock.now_ns() - int(self._options.history_days * 86_400 * NS_PER_S)) // MINUTE_NS

        def look() -> None:
            marks.update(self._store.marks())
            read = not self._config.sinks or (self._sinks is not None and all(sink.done for sink in self._sinks))
            for (exchange, market_type, symbol), spans in self.keeper.missing_since(oldest, lost_store=read).items():
                missing.setdefault(f"{exchange}.{market_type}", {})[symbol] = spans
            facts.update({**self.keeper.instruments(), **known_instruments(self._config, self._plugins, Catalogue())})

        self._do("candle history", look)

        def work(venue: Venue) -> None:
            instruments = {symbol: facts[venue.exchange, venue.market_type, symbol] for symbol in missing[venue.name]
                           if (venue.exchange, venue.market_type, symbol) in facts}
            wanted = {symbol: missing[venue.name][symbol] for symbol in instruments}
            try:
                self.history.fetch(venue, instruments, wanted, marks, HISTORY_S - 10)
            except PumpWatchError as error:
                log.warning("candles of a venue are not stored venue=%s reason=%s", venue.name, error)

        gevent.joinall([gevent.spawn(work, venue) for venue, _ in self._chosen if venue.name in missing])

    def _ask(self, venue: Venue, request: HttpRequest) -> bytes:
        part = next(part for chosen, part in self._chosen if chosen.name == venue.name)
        return self._http.ask(part.rest_url or venue.rest_url, request, venue.headers, self._budgets.of(venue))

    def read_sinks(self) -> None:
        """Make candles of minutes older than the journal from the sinks, where the store does not have them."""
        oldest = kept_from(self._clock.now_ns(), self._kept_days()).get(MINUTE, 0) // MINUTE_NS

        def work() -> None:
            begins: list[int] = []
            self._thread.apply(lambda: begins.append(self.keeper.begins()))
            if self._sinks is None:
                self._sinks = self._sink_candles() if begins[0] > max(oldest, self.keeper.watched_from()) else []
            for sink in self._sinks:
                sink.work(oldest, SINKS_S)
        if self.keeper.figures()["last_pass_ns"]:  # a round has read what was watched
            self._try("candles of sinks", work)

    def _sink_candles(self) -> list[SinkCandles]:
        """Return a reader for each sink, except the one being rolled out, which does not have all instruments."""
        return [SinkCandles(sink, self.keeper, self._clock, self._thread.apply, self._sink_thread.apply)
                for name, sink in self._plugins.make_sinks(self._config).items() if name != self._config.rollout.sink]

    def check(self) -> None:
        """Look for contradictions in the store, log them, and rebuild indexes if needed.

        This reads the whole store for minutes, so it runs in a separate thread with its own connection.
        """
        def work() -> None:
            flaws = self._checking.apply(self._found)
            self._flaws = len(flaws)
            for flaw in flaws[:10]:
                log.warning("candle store has a flaw kind=%s interval=%s series=%s detail=%s", flaw.kind, flaw.interval,
                            flaw.series, flaw.detail)
            self._thread.apply(self._note, (CHECKED, f"{len(flaws)} flaws"))
            harmed = [flaw for flaw in flaws if flaw.kind == "file"]
            if any("index" in flaw.detail for flaw in harmed):
                self._thread.apply(CandleUpkeep(self._store).reindex)
            if any("index" not in flaw.detail for flaw in harmed):
                self._store.file.remember_damage()  # so this process ends, and the next one builds it again
        self._try("candle check", work)

    def _found(self) -> list[Flaw]:
        """Return the flaws of the store, and longer candles since the first kept midnight that disagree with shorter ones."""
        store = SqliteCandleStore(self._store.file.path, read_only=True)
        try:
            flaws, now_ns = store.check(), self._clock.now_ns()
            if any(flaw.kind == "file" for flaw in flaws):
                return flaws  # its candles cannot all be read
            kept_ns = kept_from(now_ns, self._kept_days()).get(MINUTE, 0)
            return [*flaws, *continuity_flaws(store, kept_ns, now_ns // DAY_NS * DAY_NS)]
        finally:
            store.close()

    def _do(self, name: str, work: Callable[[], object]) -> None:
        """Do a piece of work in the store's thread."""
        self._try(name, lambda: self._thread.apply(work))

    def _try(self, name: str, work: Callable[[], object]) -> None:
        """Do a piece of work; log when it starts to fail, and when it succeeds again."""
        try:
            work()
        except PumpWatchError as error:
            if name not in self._problems:
                log.warning("%s: failed, it is retried reason=%s", name, error)
            self._problems[name] = error.message
        else:
            if self._problems.pop(name, None) is not None:
                log.info("%s: succeeded again", name)
        self.report_state()

    def report_state(self) -> None:
        """Report the state."""
        self._report({"figures": {**self.keeper.figures(), "history": self.history.figures(),
                                "sinks": [sink.figures() for sink in self._sinks or ()], "flaws": self._flaws,
                                "problems": dict(self._problems)},
                    "jobs": self.scheduler.rows()})

    def run(self) -> None:
        """Report the state every few seconds, until the store is found damaged."""
        while not self._store.file.damaged:
            self.report_state()
            gevent.sleep(STATE_S)
            if self._clock_watch.check():
                self.scheduler.reschedule_all()


class LogLines(logging.Handler):
    """Sends log records to the collector, which logs them."""

    def __init__(self, tell: Callable[[dict[str, Any]], None]) -> None:
        super().__init__(logging.INFO)
        self._tell_line = tell

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record."""
        self._tell_line({"log": record.getMessage(), "level": record.levelno})


def print_line(line: dict[str, Any]) -> None:
    """Print a line of JSON; ignore that the reader is gone."""
    with suppress(OSError):
        os.write(1, msgspec.json.encode(line) + b"\n")


def end_with_input() -> None:
    """End this process at once when its input ends; the store is consistent at every moment."""
    while os.read(0, 4096):
        pass
    os._exit(0)


def serve() -> None:
    """Make market data until standard input ends. This is the body of the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the collector, which ends this process
    with suppress(OSError):
        os.nice(NICE)
    config = msgspec.json.decode(_first_line(), type=Config)
    threading.Thread(target=end_with_input, daemon=True).start()
    Hub.NOT_ERROR = (*Hub.NOT_ERROR, PumpWatchError)  # a job logs it: no traceback of each try
    root = logging.getLogger()
    root.addHandler(LogLines(print_line))
    root.setLevel(logging.INFO)
    try:
        store = SqliteCandleStore(Path(config.store.dir))
        jobs = MarketJobs(config, store, print_line)
    except PumpWatchError as error:
        print_line({"failed": error.message, "for_good": isinstance(error, ConfigError)})
        sys.exit(error.exit_code)
    jobs.start()
    jobs.run()
    print_line({"failed": f"{store.file.path}: the store of candles is damaged, it is built again"})
    os._exit(StorageError.exit_code)  # the next start sets the file aside


def _first_line() -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        piece = os.read(0, 1 << 16)
        if not piece:
            sys.exit(0)
        line += piece
    return line
