"""Listings and the files of their archives, and the drill."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Annotated, Any

import msgspec
from msgspec import Meta

from pumpwatch.api.desk import Desk
from pumpwatch.api.route import Answer, Call, Problem, Route
from pumpwatch.listing import manifest
from pumpwatch.listing.archive import read_analysis
from pumpwatch.listing.inbox import chosen_source, drop

PIECE = 262_144
TYPES = {".json": "application/json", ".html": "text/html; charset=utf-8", ".parquet": "application/vnd.apache.parquet"}
# An archive's chart has its own policy in its head. Here it gets an origin of its own as well: it cannot call the API.
CHART = {"Content-Security-Policy": "sandbox allow-scripts; frame-ancestors 'self'", "X-Frame-Options": "SAMEORIGIN"}
UNKNOWN = Problem(404, "this listing is not known: /api/listings names those that are")


class ListingsQuery(msgspec.Struct, forbid_unknown_fields=True):
    """The newest `limit` listings, without the `offset` newest."""

    limit: Annotated[int, Meta(ge=1, le=500)] = 50
    offset: Annotated[int, Meta(ge=0, le=1_000_000)] = 0


class ListingRow(msgspec.Struct):
    """A listing as `pumpwatch listing show --json` has it."""

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
    """The newest listings first. total: how many there are."""

    listings: list[ListingRow]
    total: int


class ArchiveFile(msgspec.Struct):
    """A file of an archive, and the address to get it at."""

    name: str
    bytes: int
    sha256: str
    href: str


class ListingDetail(msgspec.Struct):
    """A listing, the analysis of its archive (null before it is written), and the archive's files."""

    listing: ListingRow
    analysis: dict[str, Any] | None
    files: list[ArchiveFile]


class Found(msgspec.Struct):
    """Every listing of this id: a notice may list several coins."""

    listings: list[ListingDetail]


class Drill(msgspec.Struct, forbid_unknown_fields=True):
    """A notice to make up. source: the board whose rules judge the title. delay_s: how long ago it was published."""

    coin: Annotated[str, Meta(min_length=1, max_length=20, pattern="^[A-Za-z0-9]+$", examples=["PEPE"],
                              description="one coin, of at most 20 letters and digits")]
    title: Annotated[str, Meta(max_length=500)] = ""
    source: Annotated[str, Meta(max_length=40)] = ""
    delay_s: Annotated[float, Meta(ge=0, le=3600)] = 0.0


class Dropped(msgspec.Struct):
    """The made-up notice. The collector takes it within a second."""

    notice_id: str
    symbol: str
    announced_at_ns: int
    title: str
    source: str


def listings(call: Call) -> Listings:
    """Answer with the newest listings."""
    query: ListingsQuery = call.query
    rows = call.desk.listings.all()[::-1]
    return Listings([_row(row) for row in rows[query.offset:query.offset + query.limit]], len(rows))


def _row(row: dict[str, Any]) -> ListingRow:
    return msgspec.convert({**row, "archive": Path(row["archive"]).name}, ListingRow)


def listing(call: Call) -> Found:
    """Answer with one listing: its id, its notice's id, its coin, or the name of its archive."""
    found = call.desk.listings.matching(call.path["id"])
    if not found:
        raise UNKNOWN
    return Found([call.desk.offload(_detail, row) for row in found])


def _detail(row: dict[str, Any]) -> ListingDetail:
    archive = Path(row["archive"])
    analysis = read_analysis(archive) if row["state"] == "written" else None
    return ListingDetail(_row(row), analysis, _files(archive) if row["archive"] else [])


def _files(archive: Path) -> list[ArchiveFile]:
    made = manifest.read_manifest(archive)
    rows = [(name, row.bytes, row.sha256) for name, row in made.files.items()] if made else []
    return [ArchiveFile(name, size, digest, f"/api/listings/{archive.name}/files/{name}") for name, size, digest in rows]


def archive_file(call: Call) -> Answer:
    """Answer with a file of an archive that its manifest names, or with the manifest."""
    name = call.path["name"]
    archives = sorted({Path(row["archive"]) for row in call.desk.listings.matching(call.path["id"]) if row["archive"]})
    if not archives:
        raise UNKNOWN
    content, size = call.desk.offload(_open, archives, name)
    kind = next((kind for suffix, kind in TYPES.items() if name.endswith(suffix)), "application/octet-stream")
    headers = CHART if kind.startswith("text/html") else {}
    return Answer(file_pieces(call.desk, content), kind, {"Content-Length": str(size), **headers})


def _open(archives: Sequence[Path], name: str) -> tuple[IO[bytes], int]:
    """Open a file. Its name is one of the manifest's, so that no other file of the machine can be asked for."""
    for archive in archives:
        made = manifest.read_manifest(archive)
        path = archive / name
        if made is None or name not in {manifest.FILE, *made.files} or not path.resolve().is_relative_to(archive.resolve()):
            continue
        try:
            content = path.open("rb")
        except OSError:
            continue
        return content, path.stat().st_size
    raise Problem(404, "the archive does not have this file: the listing names its files")


def file_pieces(desk: Desk, content: IO[bytes]) -> Iterator[bytes]:
    """Yield an open file in pieces, each read in a thread, and close it."""
    with content:
        while piece := desk.offload(content.read, PIECE):
            yield piece


def drill(call: Call) -> Dropped:
    """Drop a made-up notice, as `pumpwatch listing fake` does."""
    asked: Drill = call.body
    return msgspec.convert(call.desk.offload(_drop, call.desk, asked), Dropped)


def _drop(desk: Desk, asked: Drill) -> dict[str, Any]:
    source = chosen_source(desk.config, asked.source, desk.plugins) if asked.source else None
    return drop(desk.config, asked.coin, title=asked.title, source=source, delay_s=asked.delay_s, clock=desk.clock)


ROUTES = (
    Route("/api/listings", listings, "Listings, the newest first", Listings, ListingsQuery, errors=(503,)),
    Route("/api/listings/{id}", listing, "A listing with the analysis and the files of its archive", Found, errors=(404, 503)),
    Route("/api/listings/{id}/files/{name:path}", archive_file, "A file of a listing's archive",
          media=("application/json", "text/html; charset=utf-8", "application/vnd.apache.parquet", "application/octet-stream"),
          errors=(404, 503)),
    Route("/api/listings/drill", drill, "Drop a made-up notice into the collector: a drill", Dropped, body=Drill, method="POST",
          errors=(422, 503), status=202, token=True),
)
