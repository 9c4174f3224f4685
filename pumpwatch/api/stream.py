"""Route for the page's server-sent events."""

from __future__ import annotations

from pumpwatch.api.broadcast import TooManyWatchers
from pumpwatch.api.route import Answer, ApiCall, Problem, Route

EVENTS = "text/event-stream"


def stream(call: ApiCall) -> Answer:
    """Return an endless stream of events. A browser that reconnects names the last event that it got."""
    try:
        watch = call.desk.broadcast.watch(call.headers.get("last-event-id", ""))
    except TooManyWatchers:
        raise Problem(503, "too many pages are open", {"Retry-After": "5"}) from None
    return Answer(watch, EVENTS, {"Cache-Control": "no-store", "X-Accel-Buffering": "no"})


ROUTES = (
    Route("/api/stream", stream, "The figures of the page each second, as server-sent events", media=(EVENTS,), errors=(503,)),
)
