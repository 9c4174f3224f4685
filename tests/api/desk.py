"""A desk without a collector: a small journal, a memory with trades, figures that a test may change."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import falcon.testing
from gevent.threadpool import ThreadPool

from pumpwatch.api.application import Application
from pumpwatch.api.broadcast import Broadcast, Topic
from pumpwatch.api.desk import Desk
from pumpwatch.api.guard import Guard
from pumpwatch.api.listing_rows import ListingRows
from pumpwatch.api.pages import Page, read_pages
from pumpwatch.api.reader_pool import ReaderPool
from pumpwatch.api.routes import ROUTES
from pumpwatch.api.sessions import Sessions
from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.config import Config
from pumpwatch.config_api import ApiConfig
from pumpwatch.plugins import load_plugins
from pumpwatch.stats import Stats
from pumpwatch.store.journal import Journal
from pumpwatch.store.recent import Recent
from tests.trades import batch_of, catalogue_of

TOKEN = "a-token-for-the-tests-0123456789"
TRADES = 2_000  # in the journal, of 4 coins on 2 venues, the last hour's

VENUE_ROW = {
    "exchange": "binance", "market_type": "spot", "connections": 1, "connections_up": 1, "instruments": 4, "subscribed": 4,
    "trades_total": 1000, "trades_per_s": 10.0, "lag_ms": 5.0, "gaps_open": 0, "gaps_filled": 0, "gaps_lost": 0, "down_s": 0.0,
    "problem": "", "list_problem": "", "silent": [], "refused": [], "unlisted": []}
FIGURES: dict[str, Any] = {
    "pid": 1, "version": "0", "started_at_ns": 1, "written_at_ns": 2, "up_s": 12.5, "cpu_s": 1.0, "max_rss_bytes": 1, "page": "",
    "sinks": [], "venues": [VENUE_ROW], "recent": {}, "backfill": {}, "listing": {}, "notify": [], "journal": {
        "backlog_trades": 0, "bytes": 0, "commits": 1, "durable_trades": 1000, "last_commit_ns": 2, "dropped_trades": 0,
        "durable_ms_p50": 50.0, "durable_ms_p99": 120.0}}
CONNECTION = {"connection": 0, "doubles": None, "up": True, "symbols": 4, "granted": 4, "peer": "127.0.0.1", "age_s": 1.5,
              "last_trade_s": None, "down_s": 0.0, "problem": ""}
JOB = {"name": "write", "next_at": None, "last_at": None, "took_s": None, "runs": 0, "errors": 0, "error": ""}


def config_of(folder: Path, **api: Any) -> Config:
    """Return a config with its data in `folder`, the API with a token unless `api` says otherwise."""
    config = Config(api=ApiConfig(**{"token": TOKEN, **api}))
    config.store.dir = config.listing.archive_dir = str(folder)
    return config


def fill_journal(folder: Path, trades: int = TRADES) -> None:
    """Store trades of the last hour, and close the journal."""
    journal = Journal(folder, catalogue_of(), Clock(), Stats())
    journal.open()
    step_ns = 1800 * NS_PER_S // trades
    start_ns = Clock().now_ns() - 1900 * NS_PER_S
    for first in range(0, trades, 1000):
        journal.commit(batch_of(min(1000, trades - first), first_id=first + 1, start_ns=start_ns + first * step_ns,
                                step_ns=step_ns))
    journal.close()


def desk_of(config: Config, figures: dict[str, Any] | None = None, unready: str = "") -> Desk:
    """Return a desk whose memory has 800 trades of four coins."""
    stats, catalogue, recent, threads = Stats(), catalogue_of(), Recent(20), ThreadPool(2)
    recent.set_earlier_end(0)
    recent.add(batch_of(800, start_ns=Clock().now_ns() - 8 * NS_PER_S, step_ns=10_000_000))
    stats.add("trades_total", 5, venue="binance.spot")
    return Desk(config=config, clock=Clock(), stats=stats, catalogue=catalogue, recent=recent,
                figures=lambda: FIGURES if figures is None else figures, unready=lambda: unready, jobs=lambda: [JOB],
                connections=lambda venue: [CONNECTION] if venue == "binance.spot" else None, plugins=load_plugins(config),
                listings=ListingRows(config, Clock(), threads), sessions=Sessions(config.api.token, Clock(), stats),
                readers=ReaderPool(config, stats, 1), threads=threads,
                broadcast=Broadcast(Clock(), lambda: None, [Topic("figures", lambda: 1)]))


@functools.cache
def pages() -> dict[str, Page]:
    """Return the files of the page, which are read and squeezed once."""
    return read_pages()


def guard_of(desk: Desk, *, every_request: bool = False) -> Guard:
    """Return the guard of a desk."""
    changing = frozenset((route.method, route.path) for route in ROUTES if route.token)
    return Guard(frozenset(desk.config.api.hosts), desk.sessions, every_request, changing)


def client_of(desk: Desk, *, every_request: bool = False) -> falcon.testing.TestClient:
    """Return a client that calls the application without a socket."""
    application = Application(desk, ROUTES, pages(), guard_of(desk, every_request=every_request))
    return falcon.testing.TestClient(application, headers={"Host": "127.0.0.1:8321"})
