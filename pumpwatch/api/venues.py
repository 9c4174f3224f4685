"""Routes for the venues and their connections."""

from __future__ import annotations

from typing import Any

import msgspec

from pumpwatch.api.route import ApiCall, Problem, Route


class VenueStatusRow(msgspec.Struct):
    """One venue, as in `pumpwatch status --json`.

    slices: the number of slices of its symbols in a cluster, 0 if this collector reads all. slices_read: those read here.

    elsewhere: the number of symbols in the other slices.

    """

    exchange: str
    market_type: str
    connections: int
    connections_up: int
    instruments: int
    subscribed: int
    trades_total: int
    trades_per_s: float
    lag_ms: float
    gaps_open: int
    gaps_filled: int
    gaps_lost: int
    down_s: float
    problem: str
    list_problem: str
    silent: list[str]
    refused: list[str]
    unlisted: list[str]
    slices: int = 0
    slices_read: list[int] = []
    elsewhere: int = 0


class Venues(msgspec.Struct):
    """Every venue that is collected."""

    venues: list[VenueStatusRow]


class ConnectionRow(msgspec.Struct):
    """A connection. doubles: the number of the other connection of its pair. Ages are null before the first connect or trade."""

    connection: int
    doubles: int | None
    up: bool
    symbols: int
    granted: int
    peer: str
    age_s: float | None
    last_trade_s: float | None
    down_s: float
    problem: str


class VenueConnectionRows(msgspec.Struct):
    """The connections of one venue."""

    exchange: str
    market_type: str
    connections: list[ConnectionRow]


def venues(call: ApiCall) -> Venues:
    """Return all venues."""
    return Venues(msgspec.convert(call.desk.figures().get("venues", []), list[VenueStatusRow]))


def connections(call: ApiCall) -> VenueConnectionRows:
    """Return the connections of a venue such as binance.spot."""
    found: list[dict[str, Any]] | None = call.desk.connections(call.path["venue"])
    if found is None:
        raise Problem(404, "this venue is not collected: /api/venues lists the collected ones")

    exchange, _, market_type = call.path["venue"].partition(".")
    return VenueConnectionRows(exchange, market_type, msgspec.convert(found, list[ConnectionRow]))


ROUTES = (
    Route("/api/venues", venues, "Every venue: connections, rates, lag, gaps", Venues),
    Route("/api/venues/{venue}/connections", connections, "The connections of a venue, which is named EXCHANGE.MARKET",
          VenueConnectionRows, errors=(404,)),
)
