"""Routes for listings, the files of their archives, and drills."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Annotated, Any

import msgspec
from msgspec import Meta

from pumpwatch.api.desk import Desk
from pumpwatch.api.route import Answer, ApiCall, Problem, Route
from pumpwatch.listing import manifest
from pumpwatch.listing.archive import read_analysis
from pumpwatch.listing.inbox import chosen_source, drop

PIECE = 262_144
TYPES = {".json": "application/json", ".html": "text/html; charset=utf-8", ".parquet": "application/vnd.apache.parquet"}
# A chart has its own policy in its HTML. The sandbox also gives it an opaque origin, so that it cannot call the API.
CHART = {"Content-Security-Policy": "sandbox allow-scripts; frame-ancestors 'self'", "X-Frame-Options": "SAMEORIGIN"}
UNKNOWN = Problem(404, "unknown listing: /api/listings has the known ones")


class ListingsQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Select `limit` listings after the `offset` newest."""

    limit: Annotated[int, Meta(ge=1, le=500)] = 50
    offset: Annotated[int, Meta(ge=0, le=1_000_000)] = 0


class ListingRow(msgspec.Struct):
    """A listing, as in `pumpwatch listing show --json`."""

    id: str
    source: str
    notice_id: str
    coin: str
    title: str
    announced_at: str
    detected_at: str
    state: str
    late: bool
    drill: bool
    trades: int
    archive: str
    delay_ms: float
    first_mover: str | None
    peak_percent: float | None
    final: bool | None
    problem: str
    exchange: str
    kind: str


class Listings(msgspec.Struct):
    """A page of listings, the newest first. total: the number of all listings."""

    listings: list[ListingRow]
    total: int


class ArchiveFile(msgspec.Struct):
    """A file of an archive, and the path of its URL."""

    name: str
    bytes: int
    sha256: str
    href: str


class ListingDetail(msgspec.Struct):
    """A listing, the analysis of its archive (null before it is written), and the archive's files."""

    listing: ListingRow
    analysis: dict[str, Any] | None
    files: list[ArchiveFile]


class FoundListings(msgspec.Struct):
    """All listings with this id: a notice may list several coins."""

    listings: list[ListingDetail]


class Drill(msgspec.Struct, forbid_unknown_fields=True):
    """A drill: a made-up notice. source: the board whose rules judge the title. delay_s: how long ago it was published."""

    coin: Annotated[str, Meta(min_length=1, max_length=20, pattern="^[A-Za-z0-9]+$", examples=["PEPE"],
                              description="one coin, of at most 20 letters and digits")]
    title: Annotated[str, Meta(max_length=500)] = ""
    source: Annotated[str, Meta(max_length=40)] = ""
    delay_s: Annotated[float, Meta(ge=0, le=3600)] = 0.0


class Dropped(msgspec.Struct):
    """The made-up notice. The collector reads it within a second."""

    notice_id: str
    symbol: str
    announced_at_ns: int
    title: str
    source: str


def listings(call: ApiCall) -> Listings:
    """Return the newest listings."""
    query: ListingsQuery = call.query
    rows = call.desk.listings.all()[::-1]
    return Listings([_row(row) for row in rows[query.offset:query.offset + query.limit]], len(rows))


def _row(row: dict[str, Any]) -> ListingRow:
    return msgspec.convert({**row, "archive": Path(row["archive"]).name}, ListingRow)


def listing(call: ApiCall) -> FoundListings:
    """Return the listings with an id, a notice id, a coin or an archive name."""
    found = call.desk.listings.matching(call.path["id"])
    if not found:
        raise UNKNOWN
    return FoundListings([call.desk.offload(_detail, row) for row in found])


def _detail(row: dict[str, Any]) -> ListingDetail:
    archive = Path(row["archive"])
    analysis = read_analysis(archive) if row["state"] == "written" else None
    return ListingDetail(_row(row), analysis, _files(archive) if row["archive"] else [])


def _files(archive: Path) -> list[ArchiveFile]:
    found = manifest.read_manifest(archive)
    return [ArchiveFile(name, row.bytes, row.sha256, f"/api/listings/{archive.name}/files/{name}")
            for name, row in (found.files if found else {}).items()]


def archive_file(call: ApiCall) -> Answer:
    """Return a file of an archive that its manifest names, or the manifest itself."""
    name = call.path["name"]
    archives = sorted({Path(row["archive"]) for row in call.desk.listings.matching(call.path["id"]) if row["archive"]})
    if not archives:
        raise UNKNOWN
    content, size = call.desk.offload(_open, archives, name)
    kind = next((kind for suffix, kind in TYPES.items() if name.endswith(suffix)), "application/octet-stream")
    headers = CHART if kind.startswith("text/html") else {}
    return Answer(file_pieces(call.desk, content), kind, {"Content-Length": str(size), **headers})


def _open(archives: Sequence[Path], name: str) -> tuple[IO[bytes], int]:
    """Open a file. The manifest must name it, so that no other file of the machine can be requested."""
    for archive in archives:
        found = manifest.read_manifest(archive)
        path = archive / name
        if found is None or name not in {manifest.FILE, *found.files} or not path.resolve().is_relative_to(archive.resolve()):
            continue
        try:
            content = path.open("rb")
        except OSError:
            continue
        return content, path.stat().st_size
    raise Problem(404, "the archive does not have this file: /api/listings/ID lists its files")


def file_pieces(desk: Desk, content: IO[bytes]) -> Iterator[bytes]:
    """Yield an open file in pieces that are read in a thread, and close it."""
    with content:
        while piece := desk.offload(content.read, PIECE):
            yield piece


def drill(call: ApiCall) -> Dropped:
    """Drop a made-up notice, as `pumpwatch listing fake` does."""
    wanted: Drill = call.body
    return msgspec.convert(call.desk.offload(_drop, call.desk, wanted), Dropped)


def _drop(desk: Desk, wanted: Drill) -> dict[str, Any]:
    source = chosen_source(desk.config, wanted.source, desk.plugins) if wanted.source else None
    return drop(desk.config, wanted.coin, title=wanted.title, source=source, delay_s=wanted.delay_s, clock=desk.clock)


ROUTES = (
    Route("/api/listings", listings, "Listings, the newest first", Listings, ListingsQuery, errors=(503,)),
    Route("/api/listings/{id}", listing, "A listing with the analysis and the files of its archive", FoundListings,
          errors=(404, 503)),
    Route("/api/listings/{id}/files/{name:path}", archive_file, "A file of a listing's archive",
          media=("application/json", "text/html; charset=utf-8", "application/vnd.apache.parquet", "application/octet-stream"),
          errors=(404, 503)),
    Route("/api/listings/drill", drill, "Drop a made-up notice into the collector: a drill", Dropped, body=Drill, method="POST",
          errors=(422, 503), status=202, token=True),
)
