"""Ask every configured venue what trades there: `pumpwatch init-symbols`."""

from __future__ import annotations

from typing import Any

from pumpwatch.catalogue import coin_of
from pumpwatch.clock import Clock
from pumpwatch.config import Config, ExchangeConfig, VenueConfig
from pumpwatch.errors import ServiceUnavailable
from pumpwatch.feeds.roster import fetch_instruments
from pumpwatch.model import Venue
from pumpwatch.net.http import Http
from pumpwatch.net.ratelimit import TokenBucket
from pumpwatch.net.ws import tls_context
from pumpwatch.plugins import Plugins


def init_symbols(config: Config, plugins: Plugins) -> tuple[list[dict[str, Any]], list[str]]:
    """Return a row for each instrument of each enabled venue, largest volume first, and a line for each that failed."""
    http = Http(tls_context(config.net.ca_file), config.net.connect_timeout_s, config.net.proxy)
    rows: list[dict[str, Any]] = []
    problems: list[str] = []
    for venue in plugins.venues:
        exchange = config.exchanges.get(venue.exchange, ExchangeConfig(enabled=False))
        options: VenueConfig = getattr(exchange, venue.market_type)
        if not (exchange.enabled and options.enabled and options.variant == venue.variant):
            continue
        try:
            rows += _rows_of(venue, options, http)
        except ServiceUnavailable as error:
            problems.append(f"{venue.name}: {error.message}")
    return rows, problems


def as_config(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the rows as the `exchanges` section of a config, which then collects these symbols and no others."""
    exchanges: dict[str, Any] = {}
    for row in rows:
        market = exchanges.setdefault(row["exchange"], {}).setdefault(row["market_type"], {"symbols": []})
        market["symbols"].append(row["symbol"])
    return {"exchanges": exchanges}


def _rows_of(venue: Venue, options: VenueConfig, http: Http) -> list[dict[str, Any]]:
    minute = venue.limits.requests_per_minute
    budget = TokenBucket(minute / 60, minute, Clock())
    base_url = options.rest_url or venue.rest_url
    listed = fetch_instruments(venue, lambda request: http.ask(base_url, request, venue.headers, budget))
    listed.sort(key=lambda one: (-one.volume, one.symbol))
    return [{"exchange": venue.exchange, "market_type": venue.market_type, "symbol": one.symbol, "coin": coin_of(one),
             "base": one.base, "quote": one.quote, "multiplier": one.multiplier, "contract_size": one.contract_size,
             "status": one.status, "volume": one.volume} for one in listed]
