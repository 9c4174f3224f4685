"""Every route of the API."""

from __future__ import annotations

from pumpwatch.api import gaps, listings, recent_trades, stream, system, trades, venues
from pumpwatch.api.route import Route

ROUTES: tuple[Route, ...] = (
    *system.ROUTES, *venues.ROUTES, *recent_trades.ROUTES, *trades.ROUTES, *listings.ROUTES, *gaps.ROUTES,
    *stream.ROUTES)
