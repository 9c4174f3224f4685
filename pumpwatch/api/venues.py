"""The venues and their connections."""

from __future__ import annotations

from typing import Any

import msgspec

from pumpwatch.api.route import Call, Problem, Route


class VenueRow(msgspec.Struct):
    """One venue, as in `pumpwatch status --json`.

    slices: into how many its symbols are divided among collectors, 0 where this one reads all; slices_read: those read here;
    elsewhere: symbols of the others.
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

    venues: list[VenueRow]


class ConnectionRow(msgspec.Struct):
    """A connection. doubles: the one that it doubles or that doubles it. Ages are null before the first connection or trade."""

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


class VenueConnections(msgspec.Struct):
    """The connections of one venue."""

    exchange: str
    market_type: str
    connections: list[ConnectionRow]


def venues(call: Call) -> Venues:
    """Answer with every venue."""
    return Venues(msgspec.convert(call.desk.figures().get("venues", []), list[VenueRow]))


def connections(call: Call) -> VenueConnections:
    """Answer with the connections of a venue such as binance.spot."""
    found: list[dict[str, Any]] | None = call.desk.connections(call.path["venue"])
    if found is None:
        raise Problem(404, "this venue is not collected: /api/venues names those that are")
    exchange, _, market_type = call.path["venue"].partition(".")
    return VenueConnections(exchange, market_type, msgspec.convert(found, list[ConnectionRow]))


ROUTES = (
    Route("/api/venues", venues, "Every venue: connections, rates, lag, gaps", Venues),
    Route("/api/venues/{venue}/connections", connections, "The connections of a venue, which is named EXCHANGE.MARKET",
          VenueConnections, errors=(404,)),
)
