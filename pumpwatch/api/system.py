"""How the collector is: alive, ready, its figures."""

from __future__ import annotations

from typing import Any

import msgspec

from pumpwatch import __version__
from pumpwatch.api.route import Call, Problem, Route


class Health(msgspec.Struct):
    """The process answers."""

    status: str
    version: str
    up_s: float


def health(call: Call) -> Health:
    """Answer that the process lives."""
    return Health("live", __version__, float(call.desk.figures().get("up_s", 0.0)))


def status(call: Call) -> dict[str, Any]:
    """Answer with the figures of the last second."""
    figures = call.desk.figures()
    if not figures:
        raise Problem(503, "the collector is starting: there are not any figures yet", {"Retry-After": "1"})
    return figures


ROUTES = (
    Route("/api/health", health, "Whether the process lives", Health),
    Route("/api/system/status", status, "The collector's figures, as of the last second", dict[str, Any], errors=(503,)),
)
