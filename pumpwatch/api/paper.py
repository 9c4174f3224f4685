"""Routes for stored paper runs and their files, and to start a run.

A list reads only the small heading of each run, not its result, so that a long list costs the collector little.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from pumpwatch.api.desk import Desk
from pumpwatch.api.listings import CHART, file_pieces
from pumpwatch.api.paper_starts import PaperStart
from pumpwatch.api.route import JSON, Answer, ApiCall, Problem, Route
from pumpwatch.errors import ServiceUnavailable, UsageError
from pumpwatch.listing.manifest import read_manifest
from pumpwatch.paper.kept import FILES, PAGE, Heading, file_of, heading, headings

HTML = "text/html; charset=utf-8"
UNKNOWN = "unknown run: /api/paper/runs has the known ones"


class RunsQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Select `limit` runs after the `offset` newest."""

    limit: Annotated[int, Meta(ge=1, le=200)] = 20
    offset: Annotated[int, Meta(ge=0, le=1_000_000)] = 0


class PaperRun(msgspec.Struct):
    """A run: its inputs and summary. made_ms: when it was made, ms since 1970. files: URL paths of its files by name."""

    run: Heading
    made_ms: int
    files: dict[str, str]


class PaperRuns(msgspec.Struct):
    """A page of runs, the newest first. total: the number of all runs."""

    runs: list[PaperRun]
    total: int


class WantedRun(msgspec.Struct, forbid_unknown_fields=True):
    """A paper run to start: a strategy, built in or of a plugin, on one archive.

    archive: the name of its folder, as in /api/listings. size: of an entry, in quote units.
    """

    archive: Annotated[str, Meta(min_length=1, max_length=100, pattern="^[A-Z0-9][A-Za-z0-9_-]*$",
                                 examples=["SOMI_20261121T100000Z"], description="the name of an archive's folder")]
    strategy: Annotated[str, Meta(max_length=40, pattern="^[a-z][a-z0-9_]*$", examples=["buy_first"],
                                  description="the name of a strategy, built in or of a plugin")] = "buy_first"
    delays_ms: Annotated[list[Annotated[int, Meta(ge=0, le=600_000)]], Meta(
        min_length=1, max_length=20, description="1 to 20 whole numbers from 0 to 600000")] = msgspec.field(
            default_factory=lambda: [300])
    size: Annotated[float, Meta(ge=1, le=1_000_000_000)] = 1000.0


def paper_runs(call: ApiCall) -> PaperRuns:
    """Return the newest runs."""
    query: RunsQuery = call.query
    found, total = call.desk.offload(headings, _data(call.desk), query.limit, query.offset)
    return PaperRuns([_row(run, made_ms) for run, made_ms in found], total)


def paper_run(call: ApiCall) -> PaperRun:
    """Return one run."""
    found = call.desk.offload(heading, _data(call.desk), call.path["id"])
    if found is None:
        raise Problem(404, UNKNOWN)
    return _row(*found)


def paper_file(call: ApiCall) -> Answer:
    """Return a file of a run: its page, its result or its heading."""
    name = call.path["name"]
    path = call.desk.offload(file_of, _data(call.desk), call.path["id"], name)
    if path is None:
        raise Problem(404, UNKNOWN)
    try:
        content = call.desk.offload(path.open, "rb")
        size = path.stat().st_size
    except OSError as error:
        raise Problem(404, UNKNOWN) from error
    headers = CHART if name == PAGE else {}
    return Answer(file_pieces(call.desk, content), HTML if name == PAGE else JSON, {"Content-Length": str(size), **headers})


def start_paper_run(call: ApiCall) -> PaperStart:
    """Start `pumpwatch paper run` in a separate process."""
    wanted: WantedRun = call.body
    archive = Path(call.desk.config.listing.archive_dir) / wanted.archive
    if call.desk.offload(read_manifest, archive) is None:
        raise UsageError("unknown archive: /api/listings has the known ones")
    if wanted.strategy not in call.desk.plugins.strategies:
        raise UsageError(f"unknown strategy {wanted.strategy}: `pumpwatch plugins list` shows the strategies")
    starts = call.desk.paper_starts
    if starts is None:
        raise ServiceUnavailable("this collector cannot start paper runs")
    delays = ",".join(map(str, wanted.delays_ms))
    return starts.start(("--archive", str(archive), "--strategy", wanted.strategy, "--delay-ms", delays,
                         "--size", f"{wanted.size:f}"))


def paper_start(call: ApiCall) -> PaperStart:
    """Return the state of a run that was started."""
    found = call.desk.paper_starts.start_of(call.path["id"]) if call.desk.paper_starts is not None else None
    if found is None:
        raise Problem(404, "unknown start: the collector remembers only its last ones")
    return found


def _data(desk: Desk) -> Path:
    return Path(desk.config.store.dir)


def _row(run: Heading, made_ms: int) -> PaperRun:
    return PaperRun(run, made_ms, {name: f"/api/paper/runs/{run.run_id}/files/{name}" for name in FILES})


ROUTES = (
    Route("/api/paper/runs", paper_runs, "Paper runs, the newest first", PaperRuns, RunsQuery, errors=(503,)),
    Route("/api/paper/runs", start_paper_run, "Start a paper run in a separate process", PaperStart, body=WantedRun,
          method="POST", errors=(422, 503), status=202, token=True),
    Route("/api/paper/runs/{id}", paper_run, "A paper run", PaperRun, errors=(404, 503)),
    Route("/api/paper/runs/{id}/files/{name}", paper_file, "A file of a paper run", media=(JSON, HTML), errors=(404,)),
    Route("/api/paper/starts/{id}", paper_start, "The state of a paper run that was started", PaperStart, errors=(404,)),
)
