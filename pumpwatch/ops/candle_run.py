"""Compare the busiest symbols of several venues with their candles, each venue at its own pace.

A running collector queries the same venues. So this uses a fifth of a venue's allowance; markets with a common allowance share
that fifth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import gevent
import numpy as np

from pumpwatch.clock import Clock
from pumpwatch.model import Instrument
from pumpwatch.net.ratelimit import TokenBucket
from pumpwatch.ops.candle_check import CandleCheck, CandleSum, OwnMinute
from pumpwatch.ops.completeness import Day
from pumpwatch.ops.minute_states import State
from pumpwatch.ops.stored_minutes import Progress, Store, no_progress
from pumpwatch.store.coverage import Venue as VenueKey
from pumpwatch.venue import HttpRequest, Venue

SHARE = 0.2  # of a venue's allowed requests
Ask = Callable[[Venue, HttpRequest, TokenBucket], bytes]  # raises ServiceUnavailable


@dataclass(frozen=True, slots=True)
class CandlePlan:
    """The symbols of one venue to compare, the busiest first."""

    venue: Venue
    symbols: Sequence[str]


def plan(venues: Sequence[Venue], days: Sequence[Day], most: int) -> list[CandlePlan]:
    """Choose the `most` symbols with the most trades of each venue; 0 chooses all, including those without trades."""
    plans = []
    for venue in venues:
        trades: dict[str, int] = {}
        for day in days:
            line = day.timelines.get((venue.exchange, venue.market_type))
            for symbol, count in zip(line.symbols, line.trades.sum(axis=1).tolist(), strict=True) if line else ():
                trades[symbol] = trades.get(symbol, 0) + count
        busiest = sorted(trades, key=lambda symbol: (-trades[symbol], symbol))
        plans.append(CandlePlan(venue, busiest[:most] if most else busiest))
    return [chosen for chosen in plans if chosen.symbols]


def compare(plans: Sequence[CandlePlan], days: Sequence[Day], store: Store, ask: Ask, clock: Clock,
            facts: Mapping[tuple[str, str, str], Instrument], progress: Progress = no_progress) -> list[CandleSum]:
    """Compare the planned symbols; return a result for each venue. All venues are queried at the same time.

    facts: instruments by (exchange, market type, symbol), for contract sizes and scales; others are read from the journal.
    """
    budgets = Budgets(clock)
    checks = [CandleCheck(chosen.venue, _asking(ask, chosen.venue, budgets.of(chosen.venue)), clock.now_ns()) for chosen in plans]
    total = sum(len(chosen.symbols) for chosen in plans)
    done = 0

    def work(check: CandleCheck, chosen: CandlePlan) -> None:
        nonlocal done
        key = (chosen.venue.exchange, chosen.venue.market_type)
        for symbol in chosen.symbols:
            if not check.given_up:
                known = facts.get((*key, symbol)) or _known_to_journal(days, key, symbol)
                check.compare(known, [own for day in days for own in own_minutes(day, key, symbol)],
                              partial(store.by_flags, key, symbol))
            done += 1
            progress(done, total)

    gevent.joinall([gevent.spawn(work, check, chosen) for check, chosen in zip(checks, plans, strict=True)], raise_error=True)
    return [check.found for check in checks]


def own_minutes(day: Day, venue: VenueKey, symbol: str) -> list[OwnMinute]:
    """Return every minute of a symbol; empty if the day does not know it."""
    line = day.timelines.get(venue)
    if line is None or symbol not in line.symbols:
        return []
    states = line.states[line.symbols.index(symbol)].tolist()
    found = [OwnMinute(minute, State(state)) for minute, state in enumerate(states, day.first)]
    number = day.stored.catalogue.ids_of(venue).get(symbol, -1)
    minutes = day.stored.minutes
    rows = slice(*np.searchsorted(minutes.instrument, [number, number + 1]).tolist())
    for minute, trades, outside, joined, volume in zip(*(getattr(minutes, name)[rows].tolist() for name in (
            "minute", "trades", "outside", "joined", "volume")), strict=True):
        at = minute - day.first
        found[at] = OwnMinute(minute, found[at].state, trades - outside, volume, joined > 0)
    return found


class Budgets:
    """The request budgets of this program: SHARE of each venue's allowance."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._buckets: dict[tuple[str, float], TokenBucket] = {}

    def of(self, venue: Venue) -> TokenBucket:
        """Return a venue's budget; markets with a common allowance share it."""
        limits = venue.limits
        key = (venue.exchange if limits.shared_by_markets else venue.name, limits.requests_per_minute)
        return self._buckets.setdefault(key, TokenBucket(SHARE * limits.requests_per_minute / 60, 1.0, self._clock))


def _asking(ask: Ask, venue: Venue, budget: TokenBucket) -> Callable[[HttpRequest], bytes]:
    return lambda request: ask(venue, request, budget)


def _known_to_journal(days: Sequence[Day], venue: VenueKey, symbol: str) -> Instrument:
    for day in days:
        number = day.stored.catalogue.ids_of(venue).get(symbol)
        if number is not None:
            return day.stored.catalogue.instruments[number]
    return Instrument(symbol=symbol, base="", quote="")
