"""Every route of the API."""

from __future__ import annotations

from pumpwatch.api import (
    cluster,
    gaps,
    listings,
    market,
    openapi,
    paper,
    prometheus,
    recent_trades,
    rollout,
    session_routes,
    stores,
    stream,
    system,
    trades,
    venues,
)
from pumpwatch.api.route import Route

_DESCRIBED: tuple[Route, ...] = (
    *system.ROUTES, *venues.ROUTES, *recent_trades.ROUTES, *trades.ROUTES, *listings.ROUTES, *gaps.ROUTES, *market.ROUTES,
    *paper.ROUTES, *prometheus.ROUTES, *rollout.ROUTES, *session_routes.ROUTES, *cluster.ROUTES, *stores.ROUTES,
    *stream.ROUTES)

ROUTES: tuple[Route, ...] = (*_DESCRIBED, openapi.route_of(_DESCRIBED))
