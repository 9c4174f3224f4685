"""Every route of the API."""

from __future__ import annotations

from pumpwatch.api import system
from pumpwatch.api.route import Route

ROUTES: tuple[Route, ...] = (*system.ROUTES,)
