"""Venues with a scripted history, and a collector in memory that fills gaps from it. Nothing waits for real time."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from pumpwatch_plugins.exchanges.binance import VENUES

from pumpwatch.backfill.access import BackfillOptions, BackfillStores, HistoryAccess, Means
from pumpwatch.backfill.backfill import Backfill, BackfillSources
from pumpwatch.backfill.budget import BudgetShare
from pumpwatch.backfill.filler import Filler
from pumpwatch.backfill.work import GapWork
from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_S, FakeClock
from pumpwatch.errors import ServiceUnavailable
from pumpwatch.model import NO_SEQUENCE, Columns, Gap, GapState, IdKind, Instrument, TradeBatch
from pumpwatch.net.ratelimit import TokenBucket
from pumpwatch.pipeline.ingest import Ingest
from pumpwatch.records import GapFill, Records
from pumpwatch.stats import Stats
from pumpwatch.store.pending_records import gap_key
from pumpwatch.venue import HistoryDepth, HistoryQuery, HttpRequest, Venue

MS = 1_000_000
START_NS = 1_700_000_000 * NS_PER_S
Row = dict[str, Any]


def history_request(query: HistoryQuery) -> HttpRequest:
    return HttpRequest("/history", {"symbol": query.symbol, "start": query.start_ns, "end": query.end_ns,
                                    "first": query.first_id, "last": query.last_id})


def parse_history(body: bytes, symbol: str, columns: Columns) -> None:
    rows = json.loads(body)
    columns.symbol = [row["s"] for row in rows]
    columns.trade_id = [row["id"] for row in rows]
    columns.price, columns.quantity = [row["p"] for row in rows], [row["q"] for row in rows]
    columns.timestamp, columns.sell = [row["t"] for row in rows], [row["sell"] for row in rows]


def scripted_venue(name: str = "alpha", kind: IdKind = IdKind.CONTIGUOUS, **depth: Any) -> Venue:
    facts: dict[str, Any] = {"rows_per_request": 10, "pages": True, "reach_s": math.inf, "by_id": kind is IdKind.CONTIGUOUS,
                             "oldest_first": True}
    return dataclasses.replace(VENUES[0], exchange=name, id_kind=kind, history=HistoryDepth(**(facts | depth)), volumes=None,
                               history_request=history_request, parse_history=parse_history, repeats_last=False)


def trade(symbol: str, number: int, *, every_s: float = 1.0, kind: IdKind = IdKind.CONTIGUOUS) -> Row:
    """Return the trade of a symbol with this number, which is its id or is in it; trades are `every_s` apart."""
    at_ms = START_NS // MS + int(number * every_s * 1000)
    identity: int | str = number
    if kind is IdKind.MONOTONIC:
        identity = 3 * number
    elif kind is IdKind.UNIQUE:
        identity = f"{number * 7919 % 99_991:012x}"
    elif kind is IdKind.NONE:
        identity = f"b {100.0 + number % 7} 1.0"
    return {"s": symbol, "id": identity, "p": 100.0 + number % 7, "q": 1.0, "t": at_ms, "sell": number % 2 == 0}


class ScriptedHistory:
    """Answers for a venue: `rows` by symbol, oldest first. `spoil` changes each answer's rows or body, `fail` raises."""

    def __init__(self, venue: Venue, rows: Mapping[str, list[Row]], clock: FakeClock) -> None:
        self.venue, self.rows, self._clock = venue, {symbol: list(found) for symbol, found in rows.items()}, clock
        self.asked: list[Mapping[str, str | int]] = []
        self.lag_s = 0.0
        self.spoil: Callable[[list[Row]], Any] = lambda rows: rows
        self.fails = 0

    def ask(self, request: HttpRequest) -> bytes:
        self.asked.append(request.params)
        if self.fails:
            self.fails -= 1
            raise ServiceUnavailable("HTTP 502")
        answer = self.spoil(self._answer({name: value for name, value in request.params.items() if name != "symbol"},
                                         str(request.params["symbol"])))
        return answer if isinstance(answer, bytes) else json.dumps(answer).encode()

    def _answer(self, query: Mapping[str, Any], symbol: str) -> list[Row]:
        depth = self.venue.history
        newest_ns = self._clock.now_ns() - int(self.lag_s * NS_PER_S)
        rows = [row for row in self.rows.get(symbol, ()) if row["t"] * MS <= newest_ns]
        if depth.pages and depth.by_id and (query["first"] >= 0 or query["last"] >= 0):
            last = query["last"] if query["last"] >= 0 else math.inf
            rows = [row for row in rows if query["first"] <= row["id"] <= last]
        elif depth.pages:
            rows = [row for row in rows if query["start"] <= row["t"] * MS < query["end"]]
        count = depth.rows_per_request
        return rows[:count] if depth.oldest_first and depth.pages else rows[-count:]


class MemoryCollector:
    """Venues, a pipeline, a store and a ledger in memory. `live` feeds trades as if they came from the stream."""

    def __init__(self, histories: Iterable[ScriptedHistory], clock: FakeClock, symbols: Mapping[str, float],
                 last: Mapping[tuple[str, str, str], tuple[int, int]] | None = None, **options: Any) -> None:
        self.clock, self.stats, self.catalogue = clock, Stats(), Catalogue()
        self.histories = list(histories)
        for history in self.histories:
            for symbol, volume in symbols.items():
                self.catalogue.add((history.venue.exchange, history.venue.market_type),
                                   Instrument(symbol=symbol, base=symbol, quote="USDT", volume=volume))
        self.ingest = Ingest(self.catalogue, clock, self.stats, 90.0, 5000, lambda batch, records: None)
        self.ingest.continue_after(last or {})
        self.stored: list[TradeBatch] = []
        self.waiting: list[TradeBatch] = []  # put, not durable yet
        self.recorded: list[Records] = []
        self.gaps: dict[object, Gap] = {}
        self.fills: dict[object, GapFill] = {}
        self.changes = 0
        self.durable = True
        facts: dict[str, Any] = {"reach_s": 86_400.0, "kept_s": 3 * 86_400.0, "settle_s": 5.0, "concurrency": 2,
                                 "aggregated": False}
        stores = BackfillStores(self.find, self.put, self.wait_durable, self.record, self.ingest)
        self.means = Means(stores, clock, self.stats, BackfillOptions(**(facts | options)))
        self.unlisted: set[str] = set()
        self.accesses = [self._access(history) for history in self.histories]
        self.windows: dict[int, int] = {}

    def _access(self, history: ScriptedHistory) -> HistoryAccess:
        venue = history.venue
        self.ingest.add_venue(venue)
        budget = TokenBucket(100.0, 100.0, self.clock)
        return HistoryAccess(venue, self.catalogue.ids_of((venue.exchange, venue.market_type)), history.ask,
                           BudgetShare(budget, 1.0, self.clock, self.clock.advance), self.ingest.parser_of(venue), lambda: 0,
                           lambda: True, lambda symbol: symbol not in self.unlisted)

    # The store.

    def find(self, number: int, start_ns: int, end_ns: int) -> TradeBatch:
        batch = TradeBatch.concat(self.stored)
        return batch.take((batch.instrument == number) & (batch.timestamp >= start_ns) & (batch.timestamp < end_ns))

    def put(self, batch: TradeBatch, records: Records) -> None:
        self.waiting.append(batch)
        self.record(records)

    def wait_durable(self, within_s: float) -> bool:
        if self.durable:
            self.stored, self.waiting = self.stored + self.waiting, []
        return self.durable

    def record(self, records: Records) -> None:
        self.recorded.append(records)
        for gap in records.gaps:
            self.gaps[gap_key(gap)] = gap
        for fill in records.fills:
            self.fills[gap_key(fill.gap), fill.symbol] = fill
        self.changes += 1

    # The ledger.

    def open_gaps(self) -> list[Gap]:
        return [gap for gap in self.gaps.values() if gap.state is GapState.OPEN]

    def open_fills(self) -> list[GapFill]:
        return [fill for fill in self.fills.values() if self.gaps[gap_key(fill.gap)].state is GapState.OPEN]

    def gap_counts(self) -> dict[tuple[str, str, str], int]:
        counts: dict[tuple[str, str, str], int] = {}
        for gap in self.gaps.values():
            key = gap.exchange, gap.market_type, gap.state.value
            counts[key] = counts.get(key, 0) + 1
        return counts

    # What a test does.

    def batch_of(self, rows: list[Row], venue: Venue) -> TradeBatch:
        ids = self.catalogue.ids_of((venue.exchange, venue.market_type))
        texts = rows and isinstance(rows[0]["id"], str)
        return TradeBatch(
            np.array([row["t"] * MS for row in rows], np.int64), np.array([ids[row["s"]] for row in rows], np.int32),
            np.array([row["p"] for row in rows]), np.array([row["q"] for row in rows]),
            np.array([row["sell"] for row in rows], np.uint8),
            np.array([-1 if texts else row["id"] for row in rows], np.int64), np.full(len(rows), NO_SEQUENCE),
            np.array([row["t"] * MS for row in rows], np.int64), np.zeros(len(rows), np.uint8),
            np.array([row["id"].encode() for row in rows]) if texts else None)

    def live(self, rows: list[Row], history: int = 0, *, earlier: bool = False) -> list[Gap]:
        """Store trades of the stream, of an earlier run without this run's memory of them; return the gaps they open."""
        batch = self.batch_of(rows, self.histories[history].venue)
        gaps: list[Gap] = []
        if not earlier:
            seen = self.ingest.dedupe.observe(batch)
            gaps = seen.gaps
            batch = batch if seen.keep is None else batch.take(seen.keep)
        self.stored.append(batch)
        self.record(Records(gaps=gaps))
        return gaps

    def work(self, gap: Gap, symbol: str = "", history: int = 0) -> GapWork:
        name = symbol or gap.symbol
        return GapWork(gap, name, self.accesses[history].ids[name])

    def fill(self, work: GapWork, history: int = 0) -> GapFill:
        """Work once on a gap."""
        return Filler(self.accesses[history], self.means, lambda: False).fill(work)

    def stage(self) -> Backfill:
        sources = BackfillSources(self, lambda: self.changes, lambda number: self.catalogue.instruments[number].volume,
                          lambda: self.windows)
        return Backfill(self.accesses, sources, self.means)

    def have(self, symbol: str, history: int = 0) -> list[Any]:
        """Return the ids of the stored trades of a symbol, in order of time; a venue without ids has texts."""
        number = self.accesses[history].ids[symbol]
        batch = TradeBatch.concat(self.stored)
        batch = batch.take(batch.instrument == number)
        batch = batch.take(np.lexsort((batch.trade_id, batch.timestamp)))
        return batch.id_texts()


def gap_of(venue: Venue, from_s: float, to_s: float, **facts: Any) -> Gap:
    """Return a gap by the seconds since START_NS."""
    return Gap(**({"exchange": venue.exchange, "market_type": venue.market_type, "reason": "connection 0 with 1 symbols: cut",
                   "from_ns": START_NS + int(from_s * NS_PER_S), "to_ns": START_NS + int(to_s * NS_PER_S)} | facts))
