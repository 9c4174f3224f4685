"""Routes for the state of the collector: alive, ready, figures, jobs."""

from __future__ import annotations

from typing import Any

import msgspec

from pumpwatch import __version__
from pumpwatch.api.route import ApiCall, Problem, Route
from pumpwatch.api.venues import VenueStatusRow


class Health(msgspec.Struct):
    """The process answers."""

    status: str
    version: str
    up_s: float


class Ready(msgspec.Struct):
    """Trades are recorded."""

    status: str


class SinkRow(msgspec.Struct):
    """One sink, and the number of trades that it lacks."""

    name: str
    state: str
    backlog_trades: int


class JournalRow(msgspec.Struct):
    """The journal. durable_ms: from reading a trade until it is on disk."""

    backlog_trades: int
    bytes: int
    commits: int
    durable_trades: int
    last_commit_ns: int
    dropped_trades: int
    durable_ms_p50: float | None
    durable_ms_p99: float | None


class SystemStatus(msgspec.Struct):
    """The figures of `pumpwatch status --json`, at most about a second old. Counts are since the start; page is its address."""

    pid: int
    version: str
    started_at_ns: int
    written_at_ns: int
    up_s: float
    cpu_s: float
    max_rss_bytes: int
    page: str
    venues: list[VenueStatusRow]
    journal: JournalRow
    sinks: list[SinkRow]
    recent: dict[str, Any]
    backfill: dict[str, Any]
    listing: dict[str, Any]
    notify: list[dict[str, Any]] | dict[str, Any]


class Figure(msgspec.Struct):
    """One counter or gauge; the name ends in its unit."""

    name: str
    labels: dict[str, str]
    value: float


class MetricValues(msgspec.Struct):
    """Every counter and gauge."""

    metrics: list[Figure]


class JobRow(msgspec.Struct):
    """One job. took_s: null before the first run and during a run. error: of the last run, empty if it succeeded."""

    name: str
    next_at: str | None
    last_at: str | None
    took_s: float | None
    runs: int
    errors: int
    error: str


class Jobs(msgspec.Struct):
    """The scheduled jobs, by name."""

    jobs: list[JobRow]


def health(call: ApiCall) -> Health:
    """Return that the process is alive."""
    return Health("live", __version__, float(call.desk.figures().get("up_s", 0.0)))


def ready(call: ApiCall) -> Ready:
    """Return that trades are recorded; otherwise answer 503 with the reason."""
    if reason := call.desk.unready():
        raise Problem(503, f"the collector does not record: {reason}", {"Retry-After": "1"})
    return Ready("ready")


def status(call: ApiCall) -> dict[str, Any]:
    """Return the figures of the last second."""
    figures = call.desk.figures()
    if not figures:
        raise Problem(503, "the collector is starting, and has not written any figures yet", {"Retry-After": "1"})
    return figures


def metrics(call: ApiCall) -> MetricValues:
    """Return every counter and gauge."""
    return MetricValues([Figure(name, labels, value) for name, labels, value in call.desk.stats.items()])


def jobs(call: ApiCall) -> Jobs:
    """Return the scheduled jobs."""
    return Jobs(msgspec.convert(call.desk.jobs(), list[JobRow]))


ROUTES = (
    Route("/api/health", health, "Whether the process lives", Health),
    Route("/api/ready", ready, "Whether trades are recorded", Ready, errors=(503,)),
    Route("/api/metrics", metrics, "Every counter and gauge, as JSON", MetricValues),
    Route("/api/system/status", status, "The collector's figures, as of the last second", SystemStatus, errors=(503,)),
    Route("/api/jobs", jobs, "The scheduled jobs: last run, next run, last error", Jobs),
)
