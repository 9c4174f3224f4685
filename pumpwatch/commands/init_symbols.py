"""Ask every configured venue what trades there, and say where it would be read: `pumpwatch init-symbols`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from gevent.pool import Pool

from pumpwatch.catalogue import coin_of
from pumpwatch.clock import Clock, FakeClock
from pumpwatch.config import Config, VenueConfig
from pumpwatch.errors import ServiceUnavailable
from pumpwatch.feeds.placement import Placement
from pumpwatch.feeds.rate_limits import VenueRateLimits, message_limit
from pumpwatch.feeds.subscriptions import Subscriptions
from pumpwatch.instruments.exclusion_reasons import exclusion_reasons
from pumpwatch.instruments.lists import fetch_instruments, only
from pumpwatch.instruments.symbols_file import NOT_CHOSEN, SymbolsFile, VenueSymbols
from pumpwatch.instruments.volumes import SeparateVolumes
from pumpwatch.model import HttpRequest, Instrument, Venue
from pumpwatch.net.http import Http
from pumpwatch.net.ws import tls_context
from pumpwatch.plugins import Plugins


@dataclass(frozen=True, slots=True)
class Listed:
    """A venue's list: what is taken, largest volume first, and what is left out with the reason."""

    venue: Venue
    options: VenueConfig
    instruments: Sequence[Instrument]
    left_out: dict[str, str]


def ask_venues(config: Config, plugins: Plugins) -> tuple[list[Listed], list[str]]:
    """Ask all enabled venues at once; return their lists, and a line for each that failed."""
    context = tls_context(config.net.ca_file)
    wanted = [(venue, options, Http(context, config.net.connect_timeout_s, config.net.proxy))
              for venue, options in plugins.chosen(config)]
    paces = VenueRateLimits(Clock())
    answers = Pool(max(1, len(wanted))).map(lambda one: _ask(*one, paces), wanted)
    return [one for one in answers if isinstance(one, Listed)], [one for one in answers if isinstance(one, str)]


def _ask(venue: Venue, options: VenueConfig, http: Http, paces: VenueRateLimits) -> Listed | str:
    budget = paces.requests(venue)
    bodies: list[bytes] = []

    def ask(request: HttpRequest) -> bytes:
        return http.ask(options.rest_url or venue.rest_url, request, venue.headers, budget)

    volumes = SeparateVolumes(venue, ask)
    volumes.begin()
    try:
        listed = volumes.added_to(fetch_instruments(venue, ask, pages=bodies), within_s=None)
    except ServiceUnavailable as error:
        return f"{venue.name}: {error.message}"
    chosen = only(listed, options)
    chosen.sort(key=lambda one: (-one.volume, one.symbol))
    not_chosen = dict.fromkeys({one.symbol for one in listed} - {one.symbol for one in chosen}, NOT_CHOSEN)
    return Listed(venue, options, chosen, exclusion_reasons(bodies, {one.symbol for one in listed}) | not_chosen)


def rows_of(lists: Iterable[Listed]) -> list[dict[str, Any]]:
    """Return a row for each instrument."""
    return [{"exchange": one.venue.exchange, "market_type": one.venue.market_type, "symbol": each.symbol,
             "coin": coin_of(each), "base": each.base, "quote": each.quote, "multiplier": each.multiplier,
             "contract_size": each.contract_size, "status": each.status, "volume": each.volume}
            for one in lists for each in one.instruments]


def as_file(lists: Iterable[Listed], path: str) -> SymbolsFile:
    """Return the symbols file of that path with these lists in it, still to be written."""
    now_ns, file = Clock().now_ns(), SymbolsFile(path)
    for one in lists:
        file.put(one.venue.name, VenueSymbols(now_ns, one.instruments, one.left_out))
    return file


def counts(lists: Iterable[Listed]) -> list[list[str]]:
    """Return a row a venue: its name, how many symbols are taken, how many left out."""
    return [[one.venue.name, f"{len(one.instruments):,}", f"{len(one.left_out):,}"] for one in lists]


def as_config(lists: Iterable[Listed]) -> str:
    """Return the lists as the `exchanges` section of a config, which then collects these symbols and no others.

    Comments say what each symbol is, and at the end of each venue what was left out and why.
    """
    lines, exchange = ["exchanges:"], ""
    for one in sorted(lists, key=lambda one: one.venue.exchange):  # keeps a venue's place within its exchange
        if one.venue.exchange != exchange:
            exchange = one.venue.exchange
            lines.append(f"  {exchange}:")
        lines.append(f"    {one.venue.market_type}:")
        lines.append("      symbols:" if one.instruments else "      enabled: false  # no symbols would mean all")
        lines += [f"        - {_quoted(each.symbol)}  # {_multiple(each)}{_quoted(coin_of(each))[1:-1]}"
                  for each in one.instruments]
        lines += [f"      # left out: {_quoted(symbol)}: {_quoted(reason)[1:-1]}" for symbol, reason in one.left_out.items()]
    return "\n".join(lines) + "\n"


def plan(lists: Iterable[Listed]) -> list[dict[str, Any]]:
    """Return a row for each connection: its symbols, the requests that subscribe them, and after how many seconds
    the venue's limits, and no network, let the last of them go."""
    rows, clock = [], FakeClock()
    paces = VenueRateLimits(clock)
    for one in lists:
        roster = Placement(one.venue, one.options.symbols_per_connection)
        roster.refresh(one.instruments)
        pace = paces.connects(one.venue)
        for number, place in enumerate(roster.places):
            subscriptions = Subscriptions(one.venue, lambda symbol, reason: None)
            messages = message_limit(one.venue.limits, clock)
            subscriptions.want(place.symbols, add=True)
            requests, wait_s, connected_s = 0, 0.0, pace.reserve()
            while subscriptions.waiting:
                subscriptions.next_text(0.0)
                requests, wait_s = requests + 1, messages.reserve()
            rows.append({"exchange": one.venue.exchange, "market_type": one.venue.market_type, "connection": number,
                         "symbols": sorted(place.symbols), "room": roster.most - len(place.symbols), "volume": place.volume,
                         "requests": requests, "seconds": round(connected_s + wait_s, 2)})
    return rows


def plan_table(rows: Iterable[dict[str, Any]]) -> list[list[str]]:
    """Return the plan as cells, a row a venue: PLAN_HEADINGS."""
    venues: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        venues.setdefault(f"{row['exchange']}.{row['market_type']}", []).append(row)
    cells = []
    for name, places in venues.items():
        sizes = [len(place["symbols"]) for place in places]
        cells.append([name, f"{sum(sizes):,}", str(len(places)), f"{min(sizes)} to {max(sizes)}",
                      str(max(sizes) + places[sizes.index(max(sizes))]["room"]), str(sum(place["requests"] for place in places)),
                      f"{max(place['seconds'] for place in places):.1f}"])
    return cells


PLAN_HEADINGS = ("venue", "symbols", "connections", "on each", "at most", "requests", "seconds")


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _multiple(one: Instrument) -> str:
    return f"{one.multiplier} x " if one.multiplier != 1 else ""
