"""The parts of a collector that the API reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ParamSpec, TypeVar

from gevent.threadpool import ThreadPool

from pumpwatch.api.broadcast import Broadcast
from pumpwatch.api.listing_rows import ListingRows
from pumpwatch.api.paper_starts import PaperStarts
from pumpwatch.api.reader_pool import ReaderPool
from pumpwatch.api.sessions import Sessions
from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import Clock
from pumpwatch.config import Config
from pumpwatch.market.service import MarketService
from pumpwatch.ops.metric import Sample
from pumpwatch.plugins import Plugins
from pumpwatch.stats import Stats
from pumpwatch.store.query_figures import QueryFigures
from pumpwatch.store.recent import Recent

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Desk:
    """The parts of a collector that handlers may read.

    figures: what the collector wrote last to status.json, at most about a second old; shared, so never change it. unready: the
    reason why the collector does not record, empty where it does. jobs: a row for each job of the scheduler. connections: a row
    for each connection of a venue such as binance.spot, None where it is not collected. broadcast: the events of the page.
    samples: the metrics as of now. roll_out: takes a step of a sink's roll-out, and returns its state.
    queries: counts what is read. market: answers about tickers and order books, by asking venues; None where it cannot.
    paper_starts: starts paper runs in processes of their own; None where it cannot. sessions: of browsers that gave the token.
    """

    config: Config
    clock: Clock
    stats: Stats
    catalogue: Catalogue
    recent: Recent
    figures: Callable[[], dict[str, Any]]
    unready: Callable[[], str]
    jobs: Callable[[], list[dict[str, Any]]]
    connections: Callable[[str], list[dict[str, Any]] | None]
    listings: ListingRows
    plugins: Plugins
    readers: ReaderPool
    threads: ThreadPool
    broadcast: Broadcast
    sessions: Sessions
    samples: Callable[[], Iterable[Sample]] = tuple
    roll_out: Callable[[str, str], dict[str, Any]] = lambda action, reason: {}
    market: MarketService | None = None
    paper_starts: PaperStarts | None = None
    queries: QueryFigures = field(default_factory=partial(QueryFigures, 0.0))

    def offload(self, function: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
        """Call a function in a native thread of the API while only the calling greenlet waits."""
        result: T = self.threads.apply(function, args, named)
        return result
