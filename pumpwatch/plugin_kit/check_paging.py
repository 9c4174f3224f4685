"""Read histories page by page through the dialect, as a backfill does, and compare them with the dialect's trades."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from pumpwatch.errors import BadFrame
from pumpwatch.model import Columns, Flag, IdKind, Instrument
from pumpwatch.plugin_kit.mutations import mutated_bodies
from pumpwatch.plugin_kit.results import Check, Problems, counted, short
from pumpwatch.plugin_kit.samples import Samples, SimulatedVenue
from pumpwatch.plugin_kit.sandbox import attempt
from pumpwatch.venue import HistoryDepth, HistoryQuery, HttpRequest, Venue

if TYPE_CHECKING:
    from pumpwatch.sim.rows import Rows

SPARE_PAGES = 5  # pages that repeat rows of one time, and a last one without new rows
ANOTHER_TIME_NS = 1_500_000_000 * 10**9  # far from the trades: a query by ids must not depend on its time
Trade = tuple[int, bool, int, int]  # time in steps of the history's resolution, sell, price and quantity in the dialect's units


@dataclass(frozen=True, slots=True)
class HistorySource:
    """A history of a venue: the usual one or the aggregated one."""

    depth: HistoryDepth
    request: Callable[[HistoryQuery], HttpRequest]
    parse: Callable[[bytes, str, Columns], None]


@dataclass(slots=True)
class SymbolRows:
    """The dialect's rows of one symbol, and the conversions that make a venue's columns comparable with them."""

    venue: Venue
    depth: HistoryDepth
    simulated: SimulatedVenue
    instrument: Instrument
    number: int
    rows: Rows  # all rows of the symbol

    @property
    def step_ns(self) -> int:
        """Return the resolution of the history's times."""
        return max(self.venue.timestamp_unit_ns, self.depth.resolution_ns)

    def trades(self, rows: Rows) -> list[Trade]:
        """Return rows of the dialect as trades."""
        return list(zip((rows.timestamp // self.step_ns).tolist(), rows.sell.tolist(), rows.price.tolist(),
                        rows.quantity.tolist(), strict=True))

    def read(self, columns: Columns) -> list[Trade]:
        """Return the rows of the history as trades, void rows included."""
        unit, spec = self.venue.timestamp_unit_ns, self.simulated.table.specs[self.number]
        by_price = 10**spec.price_decimals / self.instrument.price_divisor
        return [(at * unit // self.step_ns, bool(sell), round(price * by_price), self.quantity(columns, row))
                for row, (at, sell, price) in enumerate(zip(columns.timestamp, columns.sell, columns.price, strict=True))]

    def quantity(self, columns: Columns, row: int) -> int:
        """Return a row's quantity in units of the dialect's last decimal."""
        spec = self.simulated.table.specs[self.number]
        units: float = 10**spec.quantity_decimals * self.instrument.contract_size / spec.contract_size
        return round(columns.quantity[row] * units)

    def held(self, rows: Rows) -> Rows:
        """Return the rows that the history must contain: trades, without those outside the market if it skips ids."""
        from pumpwatch.sim.rows import VOID

        skipped = VOID | (int(Flag.outside_market()) if self.depth.skips_ids else 0)
        return rows.take((rows.flags & skipped) == 0)

    def middle(self) -> Rows:
        """Return the middle half of the rows with all rows of its first and last time, cut to the window of one request."""
        start_ns, end_ns = (int(self.rows.timestamp[len(self.rows) * place // 4]) for place in (1, 3))
        end_ns = min(end_ns, int(start_ns + min(self.depth.window_s, 1e6) * 1e9) - 1)
        return self.rows.take((self.rows.timestamp >= start_ns) & (self.rows.timestamp <= end_ns))


@dataclass(slots=True)
class Pages:
    """The pages of one reading: their columns, and the first body."""

    columns: list[Columns] = field(default_factory=list)
    first_body: bytes = b""


def check_paging(venue: Venue, samples: Samples) -> list[Check]:
    """Return a row for the venue's history and one for its aggregated history; an empty list without a dialect."""
    if samples.simulated is None:
        return []
    rows = []
    past = samples.simulated.of_the_past()
    if venue.history.rows_per_request:
        source = HistorySource(venue.history, venue.history_request, venue.parse_history)
        rows.append(_check_history(venue, source, past))
    deeper = venue.aggregated_history
    if deeper is not None:
        rows.append(_check_aggregated(venue, HistorySource(deeper.depth, deeper.request, deeper.parse), past))
    return rows


def _part(venue: Venue, depth: HistoryDepth, past: SimulatedVenue, problems: Problems) -> SymbolRows | None:
    number = int(np.bincount(past.rows.symbol).argmax())
    instrument = past.instrument(number)
    if instrument is None:
        problems.must(False, f"the symbol list does not contain {past.table.symbols[number]}")
        return None
    return SymbolRows(venue, depth, past, instrument, number, past.rows.take(past.rows.symbol == number))


def _check_history(venue: Venue, source: HistorySource, past: SimulatedVenue) -> Check:
    problems, depth = Problems(venue.name, "history: pages"), source.depth
    part = _part(venue, depth, past, problems)
    if part is None:
        return problems.row("")
    texts, newest = [], part.rows.take(slice(-depth.rows_per_request, None))
    if not depth.pages:
        _read_history(problems, part, source, newest, False, "newest rows")
        texts.append(f"the newest {counted(len(newest), 'row')} for any query")
    elif not depth.by_time:
        _read_history(problems, part, source, newest, False, "newest rows", pages=False)
        texts.append(f"without ids the newest {counted(len(newest), 'row')}")
    else:
        texts.append(_read_history(problems, part, source, part.middle(), False, "by time"))
    if depth.by_id:
        texts.append(_read_history(problems, part, source, part.middle(), True, "by id"))
    order = f", {'oldest' if depth.oldest_first else 'newest'} first" if depth.pages else ""
    return problems.row(f"{'; '.join(texts)}{order}")


def _read_history(problems: Problems, part: SymbolRows, source: HistorySource, wanted: Rows, by_id: bool, how: str,
                  pages: bool | None = None) -> str:
    """Read a part of the history, compare it with the wanted rows, and return a summary."""
    depth = part.depth
    pages = depth.pages if pages is None else pages
    found = _read(problems, part, source, wanted, by_id, how, pages)
    read = [part.read(columns) for columns in found.columns]
    known = Counter(part.trades(part.rows))
    got: Counter[Trade] = Counter()
    seen: set[Any] = set()
    for columns, trades in zip(found.columns, read, strict=True):
        void = set(columns.void)
        rows = [row for row in range(len(trades)) if row not in void]
        if part.venue.id_kind == IdKind.NONE:
            got |= Counter(trades[row] for row in rows)
            continue
        got.update(trades[row] for row in rows if columns.trade_id[row] not in seen)
        seen.update(columns.trade_id[row] for row in rows)
    unknown = list((got - known).elements())
    problems.must(not unknown, f"{how}: {counted(len(unknown), 'row')} match no trade of the dialect: {unknown[:1]}")
    held = part.held(wanted)
    missing = list((Counter(part.trades(held)) - got).elements())
    problems.must(not missing, f"{how}: {len(missing)} of {counted(len(held), 'trade')} are missing after "
                               f"{counted(len(found.columns), 'page')}: {missing[:1]}")
    if read and pages and len(held):
        end = part.trades(held)[0 if depth.oldest_first else -1]
        problems.must(any(trade[0] == end[0] for trade in read[0]),
                      f"{how}: the first page does not have the {'oldest' if depth.oldest_first else 'newest'} row of its query: "
                      "see oldest_first")
    return f"{counted(len(held), 'row')} {how} in {counted(len(found.columns), 'page')}"


def _read(problems: Problems, part: SymbolRows, source: HistorySource, wanted: Rows, by_id: bool, how: str, pages: bool) -> Pages:
    """Request pages as the history's depth describes, until the query is answered or a page has nothing new."""
    depth, found = source.depth, Pages()
    query = HistoryQuery(part.instrument.symbol, int(wanted.timestamp[0]), int(wanted.timestamp[-1]) + 1)
    if by_id:
        query = HistoryQuery(part.instrument.symbol, ANOTHER_TIME_NS, ANOTHER_TIME_NS + 1, int(wanted.trade_id[0]),
                             int(wanted.trade_id[-1]))
    most = 2 * -(-len(wanted) // depth.rows_per_request) + SPARE_PAGES if pages else 1
    seen: set[Any] = set()
    while True:
        columns = _page(problems, part, source, query, how, found)
        if columns is None:
            return found
        found.columns.append(columns)
        new = set(columns.trade_id) - seen
        seen |= new
        if not pages or not new or not _narrow(query, part, columns, by_id):
            return found
        if len(found.columns) >= most:
            problems.must(False, f"{how}: {counted(len(wanted), 'row')} take more than {most} pages")
            return found


def _page(problems: Problems, part: SymbolRows, source: HistorySource, query: HistoryQuery, how: str,
          found: Pages) -> Columns | None:
    """Return the columns of the answer to a query, or None if the answer cannot be read."""
    made = attempt(source.request, query)
    body = part.simulated.answer(made.value) if isinstance(made.value, HttpRequest) else b""
    found.first_body = found.first_body or body
    columns = Columns()
    given = attempt(source.parse, body, query.symbol, columns)
    if made.error is not None or given.error is not None:
        problems.must(False, f"{how}: the answer cannot be read: {made.message()} {given.message()} {short(body)}")
        return None
    count, most = len(columns.symbol) - len(columns.void), source.depth.rows_per_request
    problems.must(count <= most, f"{how}: an answer has {counted(count, 'row')}, but rows_per_request is {most}")
    problems.must(set(columns.symbol) <= {query.symbol}, f"{how}: it reads rows of another symbol than {query.symbol}")
    return columns


def _narrow(query: HistoryQuery, part: SymbolRows, columns: Columns, by_id: bool) -> bool:
    """Narrow the query to the part that is still missing; return whether any is left."""
    times, oldest_first = [at * part.venue.timestamp_unit_ns for at in columns.timestamp], part.depth.oldest_first
    if by_id:
        ids = [int(number) for number in columns.trade_id]
        if oldest_first:
            query.first_id = max(ids) + 1
        else:
            query.last_id = min(ids) - 1
        return query.first_id <= query.last_id
    if oldest_first:
        query.start_ns = max(query.start_ns, *times)
    else:
        query.end_ns = min(query.end_ns, min(times) + part.step_ns)
    return query.start_ns < query.end_ns


def _check_aggregated(venue: Venue, source: HistorySource, past: SimulatedVenue) -> Check:
    """Read an aggregated history: the ids of its rows cover the market's trades, and the quantities add up to theirs."""
    from pumpwatch.sim.rows import VOID

    problems = Problems(venue.name, "history: aggregated")
    part = _part(venue, source.depth, past, problems)
    if part is None:
        return problems.row("")
    wanted = part.middle()
    found = _read(problems, part, source, wanted, source.depth.by_id, "aggregated", source.depth.pages)
    market = part.rows.take((part.rows.flags & (VOID | int(Flag.outside_market()))) == 0)
    quantities = dict(zip(market.trade_id.tolist(), market.quantity.tolist(), strict=True))
    covered: set[int] = set()
    joined = rows = 0
    for columns in found.columns:
        try:
            groups = list(_groups(columns))
        except BadFrame as error:
            problems.must(False, str(error))
            return problems.row("")
        for row, ids in groups:
            expected = sum(quantities.get(number, 0) for number in ids)
            quantity = part.quantity(columns, row)
            problems.must(quantity == expected, f"the row of ids {ids[:3]} has the quantity {quantity}, its trades {expected}")
            flagged = bool(columns.flags.get(row, 0) & Flag.AGGREGATED)
            problems.must(flagged or len(ids) == 1, f"a row joins {len(ids)} trades without Flag.AGGREGATED")
            rows, joined = rows + (ids[0] not in covered), joined + (len(ids) > 1 and ids[0] not in covered)
            covered.update(ids)
    missing = set(part.held(wanted).trade_id.tolist()) - covered
    problems.must(not missing, f"{len(missing)} of {counted(len(wanted), 'trade')} are in no row: {sorted(missing)[:1]}")
    for mutant in mutated_bodies(found.first_body):
        given = attempt(source.parse, mutant, part.instrument.symbol, Columns())
        problems.must(not given.broke, f"it raises {given.message()} on {short(mutant)}")
    return problems.row(f"{counted(rows, 'row')} in {counted(len(found.columns), 'page')}, {joined} of them join several trades")


def _groups(columns: Columns) -> Iterator[tuple[int, list[int]]]:
    """Yield each row with its ids: its own and those of the void rows after it. Raises BadFrame if void rows come first."""
    void = set(columns.void)
    row, ids = -1, list[int]()
    for place, number in enumerate(map(int, columns.trade_id)):
        if place in void:
            if row < 0:
                raise BadFrame("void rows come before the row that they belong to")
            ids.append(number)
            continue
        if row >= 0:
            yield row, ids
        row, ids = place, [number]
    if row >= 0:
        yield row, ids
