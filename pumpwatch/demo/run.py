"""Run the demo: simulated venues, the real collector, a listing, and a count of both sides, within a minute.

The venues run in a separate process and record what they sent; the collector in this process is that of `pumpwatch collect`.
The result is good only if both sides agree on every trade. The archive is the one written at the end of the window: a demo does
not wait the ten minutes until it would be final, and its manifest says so.
"""

from __future__ import annotations

import logging
import resource
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import gevent
import numpy as np
import yaml

from pumpwatch.app.collector import Collector
from pumpwatch.clock import NS_PER_MS, NS_PER_S
from pumpwatch.config import Config
from pumpwatch.config_errors import convert
from pumpwatch.errors import EXIT_FOUND, EXIT_OK, Interrupted, ServiceUnavailable, StorageError
from pumpwatch.hookspecs import MarketSource
from pumpwatch.listing.archive import CHART
from pumpwatch.model import TradeBatch
from pumpwatch.ops.logs import LineFormatter
from pumpwatch.plugins import load_plugins
from pumpwatch.sim.ground_truth import Truth
from pumpwatch.sim.process import SimProcess
from pumpwatch.sim.reconcile import TradeComparison, compare, names_of
from pumpwatch.store.committer import percentile_ms

COINS = 40
COIN = "SOMI"
CONFIG = "pumpwatch.yaml"  # in the data folder: with it every command finds the data of the demo
MARKET_AFTER_S = 3.0  # from the notice until the market of the coin opens
WINDOW_S = 20.0
SETTLE_S = 6.0  # for the poll, the end of the window, and its archive
READY_WITHIN_S = 30.0
DRAINED_WITHIN_S = 60.0


@dataclass(frozen=True, slots=True)
class DemoSight:
    """A sight of the demo's listing: the source, and the ms from the notice's publication to the sight."""

    source: str
    kind: str
    after_ms: float


@dataclass(frozen=True, slots=True)
class Report:
    """The result of a demo. Times in ms, memory in bytes, CPU of the collector in microseconds a trade."""

    sent: int
    stored: int
    missing: int
    doubled: int
    unknown: int
    different: int
    fetched: int  # of the stored trades: those from a venue's history
    store: str
    seconds: float
    trades_per_s: float
    cpu_us_per_trade: float
    cpu_percent_of_a_core: float
    max_rss_bytes: int
    durable_ms_p50: int
    durable_ms_p99: int
    coin: str
    archive: str
    archive_trades: int
    chart: str
    data: str
    config: str
    sights: tuple[DemoSight, ...] = ()

    @property
    def good(self) -> bool:
        """Return whether every sent trade is stored exactly once, and the listing has its archive."""
        wrong = self.missing or self.doubled or self.unknown or self.different
        return self.sent == self.stored - self.fetched > 0 and not wrong and self.archive_trades > 0

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain data."""
        return {**asdict(self), "good": self.good}


class Demo:
    """One run. `step` describes what it is doing; `collector` exists from the second step on."""

    def __init__(self, seconds: float, rate: float, questdb: str, folder: Path) -> None:
        self.seconds, self.rate, self.questdb, self.folder = seconds, rate, questdb, folder
        self.window_s = max(1.0, min(WINDOW_S, (seconds - SETTLE_S) / 2))
        self.listing_at_s = max(1.0, min(self.window_s + 2, seconds - self.window_s - SETTLE_S))
        self.step = "starting the simulated venues"
        self.collector: Collector | None = None
        self.started = 0.0
        self._last_figures: dict[str, Any] | None = None

    def figures(self) -> dict[str, Any]:
        """Return the collector's figures; once it stops, its last ones."""
        assert self.collector is not None
        return self._last_figures or self.collector.status.now()

    @property
    def page(self) -> str:
        """Return the address of the collector's page; empty while it is not served."""
        service = self.collector.serving.service if self.collector else None
        return service.url if service else ""

    def run(self) -> Report:
        """Run the demo. Raises ServiceUnavailable if a part does not start."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if any(self.folder.glob("journal/*")):
            raise StorageError(f"{self.folder}: it holds a journal already", "give an empty or new folder with --data")
        self._write_config()
        listings = [{"at_s": self.listing_at_s, "coin": COIN},
                    {"at_s": self.listing_at_s + MARKET_AFTER_S, "coin": COIN, "board": _list_of_markets(), "height": 0}]
        with SimProcess(symbols=COINS, rate=self.rate, paused=True, folder=str(self.folder / "venues"),
                        listings=listings) as sim:
            self.collector = collector = Collector(self._config(sim))
            collector.start()
            try:
                self.step = "connecting and subscribing"
                self._wait(lambda: self._ready(collector), READY_WITHIN_S, "the connections did not come up")
                cpu_before, self.started = _cpu_s(), time.monotonic()
                sim.resume()
                self.step = f"recording; {COIN} will be listed after {self.listing_at_s:.0f} s"
                self._trade(collector)
                cpu_s = _cpu_s() - cpu_before
                sim.pause()
                self.step = "waiting for the stores"
                self._wait(lambda: self._drained(collector), DRAINED_WITHIN_S, "the stores did not catch up")
            finally:
                archive, archive_trades = self._archive(collector)
                sights = self._sights(collector)
                self._last_figures = collector.status.now()
                collector.stop()
            truth = sim.truth()
        self.step = "counting both sides"
        counted = self._count(collector, truth)
        return replace(self._report(collector, counted, cpu_s, archive, archive_trades), sights=sights)

    def _config(self, sim: SimProcess) -> Config:
        raw = yaml.safe_load(sim.config_yaml())
        raw["store"] = {"dir": str(self.folder)}
        raw["listing"] |= {"before_s": self.window_s, "after_s": self.window_s, "archive_dir": str(self.folder)}
        for source in raw["listing"]["sources"].values():
            source["interval_s"] = 2.0
        if self.questdb:
            raw["sinks"] = {"questdb": self._questdb_options()}
        raw["symbols_file"] = ""
        raw["api"] = {"listen": page_address(Config().api.listen)}
        return convert(raw, Config, "the demo's config")

    def _write_config(self) -> None:
        """Write the config with which other commands read this folder after the demo."""
        listing = {"archive_dir": ".", "before_s": self.window_s, "after_s": self.window_s}
        config: dict[str, Any] = {"store": {"dir": "."}, "listing": listing, "symbols_file": ""}
        if self.questdb:
            config["sinks"] = {"questdb": self._questdb_options()}
        (self.folder / CONFIG).write_text(f"# To look at what a demo recorded: pumpwatch trades {COIN} -c THIS_FILE\n"
                                          + yaml.safe_dump(config, sort_keys=False), "utf-8")

    def _questdb_options(self) -> dict[str, Any]:
        return {"addr": self.questdb, "table_prefix": "pumpwatch_demo_"}

    def try_questdb(self) -> None:
        """Open and close the sink, so that its errors are reported before the demo and not after a minute."""
        plugin = load_plugins(Config()).sinks["questdb"]
        sink = plugin.create(convert(self._questdb_options(), plugin.options, "the demo's config", "sinks.questdb."))
        try:
            sink.open()
        finally:
            sink.close()

    def _ready(self, collector: Collector) -> bool:
        rows = [feeds.status() for feeds in collector.venues]
        return all(row["connections"] and row["connections"] == row["connections_up"] for row in rows)

    def _trade(self, collector: Collector) -> None:
        """Let the venues trade; after the listing, `step` describes its window."""
        while (elapsed := time.monotonic() - self.started) < self.seconds:
            windows = collector.listings.windows.open_windows() if collector.listings else []
            if windows:
                left_s = (int(str(windows[0]["end_ns"])) - time.time_ns()) / NS_PER_S
                self.step = window_step(left_s)
            elif elapsed > self.listing_at_s + self.window_s:
                self.step = "the archive is written; finishing"
            gevent.sleep(0.1)

    def _drained(self, collector: Collector) -> bool:
        assert collector.listings is not None
        return (not collector.listings.windows.open_windows() and collector.committer.waiting_trades == 0
                and all(drain.lag_rows == 0 for drain in collector.drains.values()))

    def _wait(self, done: Callable[[], bool], within_s: float, problem: str) -> None:
        deadline = time.monotonic() + within_s
        while not done():
            if time.monotonic() > deadline:
                raise ServiceUnavailable(f"{problem} within {within_s:.0f} s", f"see {self.folder / 'collector.log'}")
            gevent.sleep(0.1)

    def _archive(self, collector: Collector) -> tuple[str, int]:
        records = collector.threaded_ledger.listings()
        done = [record for record in records if record.archive]
        return (done[-1].archive, done[-1].trades or 0) if done else ("", 0)

    def _sights(self, collector: Collector) -> tuple[DemoSight, ...]:
        """Return the sights of the listing, the earliest first."""
        sights = [sight for sight in collector.threaded_ledger.sights() if sight.symbol == COIN]
        published_ns = min((sight.published_at_ns for sight in sights), default=0)
        return tuple(DemoSight(sight.source, sight.kind, (sight.seen_at_ns - published_ns) / NS_PER_MS) for sight in sights)

    def _count(self, collector: Collector, truth: Truth) -> TradeComparison:
        """Count the stored trades: in QuestDB if it is used (its rows become visible a little later), else in the journal."""
        from pumpwatch.store.reader import JournalReader

        names = names_of(truth)
        first, last = _span(truth)
        if not self.questdb:
            return compare(truth, JournalReader(self.folder, collector.catalogue).query(names, first, last),
                           collector.catalogue)
        deadline = time.monotonic() + DRAINED_WITHIN_S
        while True:
            stored: TradeBatch = collector.sinks["questdb"].read(names, first, last, collector.catalogue)
            counted = compare(truth, stored, collector.catalogue)
            if counted.equal or time.monotonic() > deadline:
                return counted
            gevent.sleep(1.0)

    def _report(self, collector: Collector, counted: TradeComparison, cpu_s: float, archive: str, archive_trades: int) -> Report:
        latency = collector.committer.latency_ms
        return Report(
            **counted.figures(), store=f"QuestDB {self.questdb}" if self.questdb else "journal", seconds=self.seconds,
            trades_per_s=round(counted.sent / self.seconds, 1), cpu_us_per_trade=round(cpu_s / max(1, counted.sent) * 1e6, 2),
            cpu_percent_of_a_core=round(100 * cpu_s / self.seconds, 1),
            max_rss_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            durable_ms_p50=percentile_ms(latency, 0.5), durable_ms_p99=percentile_ms(latency, 0.99),
            coin=COIN, archive=archive, archive_trades=archive_trades, chart=str(Path(archive) / CHART) if archive else "",
            data=str(self.folder), config=str(self.folder / CONFIG))


def run(seconds: float = 52.0, rate: float = 2000.0, questdb: str = "", data: str = "",
        show: Callable[[Demo], Any] | None = None) -> tuple[int, Report]:
    """Run a demo and return (exit code, report); `show` is called several times a second while it runs.

    Raises Interrupted on Ctrl-C, once everything received is stored.
    """
    folder = Path(data or time.strftime("pumpwatch-demo-%Y%m%dT%H%M%S")).absolute()
    demo = Demo(seconds, rate, questdb, folder)
    if questdb:
        demo.try_questdb()
    with _interruptible(folder), _log_to(folder), _showing(demo, show):
        report = demo.run()
    return (EXIT_OK if report.good else EXIT_FOUND), report


def window_step(left_s: float) -> str:
    """Describe a window that ends in `left_s` seconds; after its end it stays open until its archive is written."""
    if left_s <= 0:
        return f"{COIN} is listed: its window has closed"
    return f"{COIN} is listed: its window closes in {max(1.0, left_s):.0f} s"


def page_address(usual: str | bool) -> str:
    """Return the usual address of the page; if its port is taken, the same host with any free port."""
    host, _, port = str(usual).rpartition(":")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # the port of a collector that has just ended is free
        try:
            probe.bind((host, int(port)))
        except OSError:
            return f"{host}:0"
    return str(usual)


def _list_of_markets() -> str:
    """Return the first list of markets among the default sources."""
    sources = load_plugins(Config()).sources
    return next(name for name in Config().listing.sources if isinstance(sources.get(name), MarketSource))


@contextmanager
def _interruptible(folder: Path) -> Iterator[None]:
    """Raise Interrupted here on SIGINT, instead of a KeyboardInterrupt in any greenlet."""
    before = signal.getsignal(signal.SIGINT)
    watcher = gevent.signal_handler(signal.SIGINT, gevent.kill, gevent.getcurrent(),
                                    Interrupted(f"interrupted; data in {folder}"))
    try:
        yield
    finally:
        watcher.cancel()
        signal.signal(signal.SIGINT, before)


@contextmanager
def _log_to(folder: Path) -> Iterator[None]:
    """Write the collector's log to a file in its folder, so that it does not disturb the display."""
    folder.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(folder / "collector.log", encoding="utf-8")
    handler.setFormatter(LineFormatter())
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.handlers[:] = before
        root.setLevel(level)
        handler.close()


@contextmanager
def _showing(demo: Demo, show: Callable[[Demo], Any] | None) -> Iterator[None]:
    if show is None:
        yield
        return

    def repeat() -> None:
        while True:
            show(demo)
            gevent.sleep(0.5)

    part = gevent.spawn(repeat)
    try:
        yield
    finally:
        part.kill()


def _span(truth: Truth) -> tuple[int, int]:
    times = truth.records["timestamp"]
    return (int(np.min(times)), int(np.max(times)) + 1) if len(times) else (0, 1)


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
