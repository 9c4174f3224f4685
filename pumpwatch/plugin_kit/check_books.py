"""Check a venue's order books: valid requests, the same levels as the dialect's book, other answers rejected."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pumpwatch.order_book import LEVELS, Level, OrderBook
from pumpwatch.plugin_kit.check_snapshots import CLOCK_S, ROUNDING, check_symbol_requests, require_rejections
from pumpwatch.plugin_kit.results import Check, Problems, counted, short
from pumpwatch.plugin_kit.samples import Samples, SimulatedVenue
from pumpwatch.plugin_kit.sandbox import attempt, watch_effects
from pumpwatch.venue import OrderBooks, Venue

if TYPE_CHECKING:
    from pumpwatch.sim.book import MadeBook


def check_books(venue: Venue, samples: Samples) -> list[Check]:
    """Return one row for the requests and one for the dialect's book; an empty list if the venue has no books."""
    books = venue.books
    if books is None:
        return []
    requests = check_symbol_requests(venue, "books", books.request)
    if samples.simulated is None or requests.state == "fail":
        return [requests]
    return [requests, _levels(venue, books, samples.simulated)]


def _levels(venue: Venue, books: OrderBooks, simulated: SimulatedVenue) -> Check:
    problems = Problems(venue.name, "books: levels")
    number = int(simulated.rows.symbol[-1])
    instrument = simulated.instrument(number)
    if instrument is None:
        problems.must(False, f"the symbol list does not contain {simulated.table.symbols[number]}")
        return problems.row("")
    body = simulated.answer(books.request(instrument.symbol))
    with watch_effects() as effects:
        given, again = attempt(books.parse, body, instrument), attempt(books.parse, body, instrument)
    if given.value is None:
        problems.must(False, f"books.parse rejects the answer to its request: {given.message()} {short(body)}")
        return problems.row("")
    problems.must(given.value == again.value and not effects,
                  "books.parse returns a different book the second time, or has side effects")
    _compare(problems, given.value, simulated.history.book(number, time.time_ns()))
    require_rejections(problems, books.parse, body, instrument)
    levels = counted(len(given.value.bids) + len(given.value.asks), "level")
    return problems.row(f"{levels} of {instrument.symbol} in base units; mutations are read or rejected")


def _compare(problems: Problems, found: OrderBook, made: MadeBook) -> None:
    """Compare both sides with the dialect's own book, and the time with the clock."""
    for name, side, levels in (("bids", found.bids, made.bids), ("asks", found.asks, made.asks)):
        problems.must(0 < len(side) <= min(LEVELS, len(levels)), f"{name} of {counted(len(side), 'level')}")
        wrong = _first_difference(side, _in_base_units(made, levels))
        problems.must(not wrong, f"{name}: {wrong}")
    off_s = abs(time.time_ns() - found.at_ns) / 1e9 if found.at_ns else 0.0
    problems.must(off_s <= CLOCK_S or found.at_ns == made.at_ns,
                  f"its time is {off_s:.0f} s away from now: is its unit wrong?")


def _in_base_units(made: MadeBook, levels: Sequence[tuple[int, int]]) -> list[Level]:
    table, symbol = made.table, made.symbol
    numerator, denominator = table.contract_size[symbol].tolist()
    return [(price / int(table.price_scale[symbol]), quantity / int(table.quantity_scale[symbol]) * numerator / denominator)
            for price, quantity in levels]


def _first_difference(side: Sequence[Level], expected: Sequence[Level]) -> str:
    for place, (level, own) in enumerate(zip(side, expected, strict=False)):
        if not all(math.isclose(*pair, rel_tol=ROUNDING) for pair in zip(level, own, strict=True)):
            return (f"level {place} is {level[0]:.10g} x {level[1]:.10g}, the dialect has {own[0]:.10g} x {own[1]:.10g} "
                    "in base units")
    return ""
