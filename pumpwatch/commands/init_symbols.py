"""Ask every configured venue for its symbols, and plan their connections: `pumpwatch init-symbols`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from gevent.pool import Pool

from pumpwatch.catalogue import coin_of
from pumpwatch.clock import Clock, FakeClock
from pumpwatch.commands.cells import venue_cell
from pumpwatch.commands.table import Cell, Column
from pumpwatch.config import Config, VenueConfig
from pumpwatch.errors import ServiceUnavailable
from pumpwatch.feeds.placement import Placement
from pumpwatch.feeds.rate_limits import VenueRateLimits, message_limit
from pumpwatch.feeds.subscriptions import Subscriptions
from pumpwatch.instruments.exclusion_reasons import exclusion_reasons
from pumpwatch.instruments.lists import fetch_instruments, only
from pumpwatch.instruments.symbols_file import NOT_CHOSEN, SymbolsFile, VenueSymbols
from pumpwatch.instruments.volumes import SeparateVolumes
from pumpwatch.model import Instrument
from pumpwatch.net.http import Http
from pumpwatch.net.ws import tls_context
from pumpwatch.plugins import Plugins
from pumpwatch.venue import HttpRequest, Venue


@dataclass(frozen=True, slots=True)
class ListedSymbols:
    """A venue's list: the chosen instruments, largest volume first, and each symbol left out with the reason."""

    venue: Venue
    options: VenueConfig
    instruments: Sequence[Instrument]
    left_out: dict[str, str]


def ask_venues(config: Config, plugins: Plugins) -> tuple[list[ListedSymbols], list[str]]:
    """Ask all enabled venues at once; return their lists, and a line for each that failed."""
    context = tls_context(config.net.ca_file)
    wanted = [(venue, options, Http(context, config.net.connect_timeout_s, config.net.proxy))
              for venue, options in plugins.chosen(config)]
    paces = VenueRateLimits(Clock())
    answers = Pool(max(1, len(wanted))).map(lambda arguments: _ask(*arguments, paces), wanted)
    return ([answer for answer in answers if isinstance(answer, ListedSymbols)],
            [answer for answer in answers if isinstance(answer, str)])


def _ask(venue: Venue, options: VenueConfig, http: Http, paces: VenueRateLimits) -> ListedSymbols | str:
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
    chosen.sort(key=lambda instrument: (-instrument.volume, instrument.symbol))
    symbols = {instrument.symbol for instrument in listed}
    not_chosen = dict.fromkeys(symbols - {instrument.symbol for instrument in chosen}, NOT_CHOSEN)
    return ListedSymbols(venue, options, chosen, exclusion_reasons(bodies, symbols) | not_chosen)


def without_volumes(lists: Iterable[ListedSymbols]) -> list[str]:
    """Return a line for each venue that sent its list without volumes, which balance its connections."""
    return [f"{listed.venue.name}: volumes are not known" for listed in lists
            if listed.instruments and not any(instrument.volume for instrument in listed.instruments)]


def rows_of(lists: Iterable[ListedSymbols]) -> list[dict[str, Any]]:
    """Return a row for each instrument."""
    return [{"exchange": listed.venue.exchange, "market_type": listed.venue.market_type, "symbol": instrument.symbol,
             "coin": coin_of(instrument), "base": instrument.base, "quote": instrument.quote,
             "multiplier": instrument.multiplier, "contract_size": instrument.contract_size, "status": instrument.status,
             "volume": instrument.volume}
            for listed in lists for instrument in listed.instruments]


def as_file(lists: Iterable[ListedSymbols], path: str) -> SymbolsFile:
    """Return a symbols file for `path` with these lists; the caller writes it."""
    now_ns, file = Clock().now_ns(), SymbolsFile(path)
    for listed in lists:
        file.put(listed.venue.name, VenueSymbols(now_ns, listed.instruments, listed.left_out))
    return file


def counts(lists: Iterable[ListedSymbols]) -> list[list[str]]:
    """Return a row for each venue: its name, the number of symbols, the number of symbols left out."""
    return [[listed.venue.name, f"{len(listed.instruments):,}", f"{len(listed.left_out):,}"] for listed in lists]


def as_config(lists: Iterable[ListedSymbols]) -> str:
    """Return the lists as the `exchanges` section of a config, which then collects these symbols and no others.

    Comments name the coin of each symbol, and at the end of each venue the symbols left out with their reasons.
    """
    lines, exchange = ["exchanges:"], ""
    for listed in sorted(lists, key=lambda listed: listed.venue.exchange):  # stable: venues keep their order within an exchange
        if listed.venue.exchange != exchange:
            exchange = listed.venue.exchange
            lines.append(f"  {exchange}:")
        lines.append(f"    {listed.venue.market_type}:")
        lines.append("      symbols:" if listed.instruments else "      enabled: false  # no symbols would mean all")
        lines += [f"        - {_quoted(instrument.symbol)}  # {_multiple(instrument)}{_quoted(coin_of(instrument))[1:-1]}"
                  for instrument in listed.instruments]
        lines += [f"      # left out: {_quoted(symbol)}: {_quoted(reason)[1:-1]}" for symbol, reason in listed.left_out.items()]
    return "\n".join(lines) + "\n"


def plan(lists: Iterable[ListedSymbols]) -> list[dict[str, Any]]:
    """Return a row for each connection: its symbols, its subscription requests, and the seconds until the last request.

    The seconds follow from the venue's limits alone; the network would add to them.
    """
    rows, clock = [], FakeClock()
    paces = VenueRateLimits(clock)
    for listed in lists:
        venue = listed.venue
        roster = Placement(venue, listed.options.symbols_per_connection)
        roster.refresh(listed.instruments)
        pace = paces.connects(venue)
        for number, place in enumerate(roster.places):
            subscriptions = Subscriptions(venue, lambda symbol, reason: None)
            messages = message_limit(venue.limits, clock)
            subscriptions.want(place.symbols, add=True)
            requests, wait_s, connected_s = 0, 0.0, pace.reserve()
            while subscriptions.waiting:
                subscriptions.next_text(0.0)
                requests, wait_s = requests + 1, messages.reserve()
            rows.append({"exchange": venue.exchange, "market_type": venue.market_type, "connection": number,
                         "symbols": sorted(place.symbols), "room": roster.most - len(place.symbols), "volume": place.volume,
                         "requests": requests, "seconds": round(connected_s + wait_s, 2)})
    return rows


def plan_table(rows: Iterable[dict[str, Any]]) -> list[list[str | Cell]]:
    """Return the plan as a row of PLAN for each venue."""
    venues: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        venues.setdefault((row["exchange"], row["market_type"]), []).append(row)
    cells: list[list[str | Cell]] = []
    for venue, places in venues.items():
        sizes = [len(place["symbols"]) for place in places]
        cells.append([venue_cell(*venue), f"{sum(sizes):,}", str(len(places)), f"{min(sizes)} to {max(sizes)}",
                      str(max(sizes) + places[sizes.index(max(sizes))]["room"]), str(sum(place["requests"] for place in places)),
                      f"{max(place['seconds'] for place in places):.1f}"])
    return cells


PLAN = (Column("venue"), *(Column(heading, right=True) for heading in (
    "symbols", "connections", "on each", "at most", "requests", "seconds")))


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _multiple(instrument: Instrument) -> str:
    return f"{instrument.multiplier} x " if instrument.multiplier != 1 else ""
