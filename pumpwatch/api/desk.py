"""The parts of a collector that the API uses."""

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
    """The parts of a collector that handlers may use.

    figures: the last content of status.json, at most about a second old; shared, so never change it. unready: the reason why the
    collector does not record, empty if it does. jobs: a row for each scheduled job. connections: a row for each connection of a
    venue such as binance.spot, None if the venue is not collected. broadcast: the events of the page. samples: the current
    metrics. roll_out: takes a step of a sink's roll-out, and returns its state. queries: counts and times queries of trades.
    market: fetches tickers and order books from venues, None if it is not available. paper_starts: starts paper runs in separate
    processes, None if it is not available. sessions: of browsers that sent the token.
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
        """Call a function in a native thread of the API; only the calling greenlet waits."""
        result: T = self.threads.apply(function, args, named)
        return result
