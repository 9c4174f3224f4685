"""Every route of the API."""

from __future__ import annotations

from pumpwatch.api import stream, system
from pumpwatch.api.route import Route

ROUTES: tuple[Route, ...] = (*system.ROUTES, *stream.ROUTES)
