"""Find the trades of a coin and a time in memory, in the journal, or in the sinks.

Memory holds every trade since `Recent.covers_from_ns`, except the parts that `elsewhere` returns. The journal has those parts and
the time before, and the sinks have the time before the journal. The results are merged by time, without doubles.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np

from pumpwatch.catalogue import Catalogue
from pumpwatch.errors import PumpWatchError
from pumpwatch.hookspecs import Sink
from pumpwatch.model import TradeBatch
from pumpwatch.store.query_figures import QueryFigures

Name = tuple[str, str, str]  # exchange, market_type, symbol
NEVER = 2**63 - 1


class RecentTrades(Protocol):
    """The trades in memory, see `store.recent`."""

    covers_from_ns: int

    def query(self, ids: Sequence[int], start_ns: int, end_ns: int) -> TradeBatch:
        """Return the trades of these instruments in [start_ns, end_ns)."""

    def elsewhere(self, start_ns: int, end_ns: int) -> list[tuple[int, int]]:
        """Return the parts of [start_ns, end_ns) that memory does not hold."""


@dataclass(frozen=True, slots=True)
class QueryPart:
    """The number of rows from one store, and the time in ms that it took. problem: why the store could not answer, or empty.

    detail: more about the search, such as `of 3 segments`, or empty.
    """

    source: str  # recent, journal, or a sink's name
    rows: int | None  # None: unknown
    ms: float
    problem: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class QueryResult:
    """Trades by timestamp, each once, and the stores that they came from."""

    batch: TradeBatch
    parts: list[QueryPart]


def find(
    coin: str | Sequence[int], start_ns: int, end_ns: int, *, catalogue: Catalogue, recent: RecentTrades | None = None,
    journal_query: Callable[[Sequence[Name], int, int], TradeBatch] | None = None,
    sinks: Mapping[str, Sink] | None = None, journal_from_ns: int = NEVER,
    merge: Callable[[Sequence[TradeBatch]], TradeBatch] | None = None,
    segments: Callable[[int, int], int] | None = None, figures: QueryFigures | None = None,
) -> QueryResult:
    """Return the trades of a coin (or of instrument ids) in [start_ns, end_ns), from as few stores as possible.

    journal_from_ns: the journal is complete from then on, so the sinks are not asked. A store that cannot answer is reported in
    the parts, and the others are still asked. merge: `merged` in a thread. segments: counts the journal's segments of a time,
    for the plan of a slow query. figures: counts this query.
    """
    began = time.perf_counter()
    try:
        found = _find(coin, start_ns, end_ns, catalogue=catalogue, recent=recent, journal_query=journal_query, sinks=sinks,
                      journal_from_ns=journal_from_ns, merge=merge or merged, segments=segments)
    except BaseException:
        if figures is not None:
            figures.record_failure((time.perf_counter() - began) * 1000)
        raise
    if figures is not None:
        what = coin if isinstance(coin, str) else f"{len(coin)} instruments"
        figures.record(what, start_ns, end_ns, found.parts, len(found.batch), (time.perf_counter() - began) * 1000)
    return found


def _find(
    coin: str | Sequence[int], start_ns: int, end_ns: int, *, catalogue: Catalogue, recent: RecentTrades | None,
    journal_query: Callable[[Sequence[Name], int, int], TradeBatch] | None, sinks: Mapping[str, Sink] | None,
    journal_from_ns: int, merge: Callable[[Sequence[TradeBatch]], TradeBatch], segments: Callable[[int, int], int] | None,
) -> QueryResult:
    ids = catalogue.matching(coin) if isinstance(coin, str) else list(coin)
    names = catalogue.names(ids)
    batches: list[TradeBatch] = []
    parts: list[QueryPart] = []

    def ask(source: str, first_ns: int, last_ns: int, question: Callable[[int, int], TradeBatch]) -> None:
        if not ids or first_ns >= last_ns:
            return
        started, problem, batch = time.perf_counter(), "", TradeBatch.empty()
        try:
            batch = question(first_ns, last_ns)
        except PumpWatchError as error:
            problem = error.message
        count = segments(first_ns, last_ns) if source == "journal" and segments is not None else None
        detail = "" if count is None else f"of {count:,} segment{'' if count == 1 else 's'}"
        parts.append(QueryPart(source, len(batch), (time.perf_counter() - started) * 1000, problem, detail))
        batches.append(batch)

    rest = [(start_ns, end_ns)]
    if recent is not None:
        held, rest = recent, recent.elsewhere(start_ns, end_ns)
        ask("recent", max(start_ns, recent.covers_from_ns), end_ns, lambda first, last: held.query(ids, first, last))
    for first_ns, last_ns in rest:
        whole_from_ns = journal_from_ns
        if journal_query is not None:
            ask("journal", first_ns, last_ns, partial(journal_query, names))
            if parts and parts[-1].problem:
                whole_from_ns = NEVER
        for name, sink in (sinks or {}).items():
            ask(name, first_ns, min(last_ns, whole_from_ns), partial(sink.read, names, catalogue=catalogue))
    return QueryResult(merge(batches), parts)


def merged(batches: Sequence[TradeBatch]) -> TradeBatch:
    """Return the rows of all batches by timestamp, without repeated trades (equal instrument, id and timestamp)."""
    batch = TradeBatch.concat([batch for batch in batches if len(batch)])
    if len(batch) < 2:
        return batch
    ids = batch.trade_id if batch.text_id is None else np.array(batch.id_texts())
    order = np.lexsort((ids, batch.instrument, batch.timestamp))
    same = np.ones(len(batch) - 1, bool)
    for column in (batch.timestamp, batch.instrument, ids):
        ordered = column[order]
        same &= ordered[1:] == ordered[:-1]
    return batch.take(order[np.concatenate(([True], ~same))] if same.any() else order)
