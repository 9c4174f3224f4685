"""An archive's manifest: its files with their checksums, how complete each venue is, and the passes that wrote it.

    {"format": "pumpwatch.manifest/1", "coin": "KITE", "drill": false, "late": false, "final": false, "final_at_ns": null,
     "final_at": null, "trades": 5120, "problems": [], "unpublished": [],
     "passes": [{"at_ns": 1793685626000000000, "at": "2026-11-03T06:00:26.000000Z", "trades": 5120, "added": 5120}],
     "versions": {"pumpwatch": "0.1.0", "python": "3.11.9", "numpy": "2.1.0"},
     "files": {"raw/binance/spot.json": {"bytes": 812345, "sha256": "9f86..."}},
     "venues": [{"exchange": "binance", "market_type": "spot", "state": "traded", "trades": 5120, "symbols": [...],
                 "missing": []}],
     "books": [{"exchange": "binance", "market_type": "spot", "snapshots": 20, "failed": 1, "first_ns": 1793685605...,
                "last_ns": 1793685625..., "problems": [{"from_ns": ..., "to_ns": ..., "count": 1, "reason": "..."}]}],
     "parts": [{"source": "recent", "rows": 5120, "ms": 1.5}], "steps_ms": {"query": 1.5, "raw": 22.1},
     "window": [[1793685580000000000, 1793685623000000000]], "content_id": "5f3c...",
     "made_by": "c1", "members": [{"member": "c1", "state": "merged", "trades": 2560, "at_ns": 1793685626..., "reason": ""}]}

`final` is false while another pass follows; additional trades of a pass are written, and counted in its `added`. `problems`
gives the reasons why trades may be missing, as of the last pass. `unpublished` names the sinks that have not accepted the
listing. `venues` is described in `listing.completeness`. `books` has a row per venue whose order book was to be recorded: the
number of snapshots, the number of missing ones (`failed`), and the reasons; `first_ns` and `last_ns` are the times of the first
and the last request. `parts` are the queried parts of the store, including the time before the window, each with its ms, and
with a problem if it could not return everything. `steps_ms` is the duration of each step of the writing. `window` is the time
whose trades are in the files, as [from, to) in ns; a longer window extends it. `content_id` is a checksum of the inputs of the
files: a pass with the same inputs leaves the files in place.

`versions`, `files`, `venues`, `books`, `parts`, `steps_ms`, `window` and `content_id` describe the files on disk: a pass that
leaves the files in place does not change them.

In a cluster, `members` names the collectors whose parts were joined (`merged`) and those whose parts are missing (`missing`, with
the reason), as of the last pass of `made_by`. `alone` marks an archive of one member's own part; the leader has joined that part
in its own archive. Both are empty for a single collector.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from pumpwatch.clock import NS_PER_S

FILE = "manifest.json"
FORMAT = "pumpwatch.manifest/1"
PASSES = 100  # the newest passes are kept of an archive that is replayed often


class PassRow(msgspec.Struct, frozen=True):
    """One pass: its time, the archive's trades after it, and how many of them it added."""

    at_ns: int
    at: str
    trades: int
    added: int


class FileRow(msgspec.Struct, frozen=True):
    """One file: its size, and its SHA-256 in hexadecimal."""

    bytes: int
    sha256: str


class MissingSpan(msgspec.Struct, frozen=True):
    """A part of the window, [from_ns, to_ns), in which trades of a venue may be missing."""

    from_ns: int
    to_ns: int
    reason: str


class SymbolRow(msgspec.Struct, frozen=True):
    """The facts of an instrument that an archive stores, as in `model.Instrument`."""

    symbol: str
    base: str
    quote: str
    multiplier: int = 1
    contract_size: float = 1.0
    status: str = "trading"


class VenueRow(msgspec.Struct, frozen=True):
    """The completeness of one venue, see `listing.completeness`. symbols: the coin's instruments on it."""

    exchange: str
    market_type: str
    state: str
    trades: int = 0
    symbols: tuple[SymbolRow, ...] = ()
    missing: tuple[MissingSpan, ...] = ()


class BookGap(msgspec.Struct, frozen=True):
    """Missing snapshots of an order book: their time, their number, and the reason."""

    from_ns: int
    to_ns: int
    count: int
    reason: str


class BookRow(msgspec.Struct, frozen=True):
    """The recorded order books of one venue."""

    exchange: str
    market_type: str
    snapshots: int = 0
    failed: int = 0
    first_ns: int | None = None
    last_ns: int | None = None
    problems: tuple[BookGap, ...] = ()


class MemberRow(msgspec.Struct, frozen=True):
    """A collector's part of an archive: its number of trades, and when they came; or why the part is missing."""

    member: str
    state: str
    trades: int = 0
    at_ns: int = 0
    reason: str = ""


MERGED, MISSING_PART, ALONE = "merged", "missing", "alone"


class ArchiveManifest(msgspec.Struct, frozen=True, kw_only=True):
    """The content of a manifest; see the module."""

    format: str = FORMAT
    coin: str
    drill: bool = False
    late: bool = False
    final: bool = False
    final_at_ns: int | None = None
    final_at: str | None = None
    trades: int = 0
    problems: tuple[str, ...] = ()
    unpublished: tuple[str, ...] = ()
    passes: tuple[PassRow, ...] = ()
    versions: dict[str, str] = {}
    files: dict[str, FileRow] = {}
    venues: tuple[VenueRow, ...] = ()
    books: tuple[BookRow, ...] = ()
    parts: tuple[dict[str, Any], ...] = ()
    steps_ms: dict[str, float] = {}
    window: tuple[tuple[int, int], ...] = ()
    content_id: str = ""
    made_by: str = ""
    members: tuple[MemberRow, ...] = ()

    def with_pass(self, at_ns: int, trades: int, added: int, *, final: bool, late: bool,
                  problems: Sequence[str]) -> ArchiveManifest:
        """Return a copy with one more pass."""
        row = PassRow(at_ns, iso(at_ns), trades, added)
        return msgspec.structs.replace(
            self, late=late, final=final, final_at_ns=at_ns if final else None, final_at=iso(at_ns) if final else None,
            trades=trades, problems=tuple(problems), passes=(*self.passes, row)[-PASSES:])


def read_manifest(archive: Path) -> ArchiveManifest | None:
    """Return an archive's manifest; None if it is missing or unreadable."""
    try:
        found = msgspec.json.decode((archive / FILE).read_bytes(), type=ArchiveManifest)
    except (OSError, msgspec.DecodeError):
        return None
    return found if found.format == FORMAT else None


def write_manifest(archive: Path, manifest: ArchiveManifest) -> None:
    """Write the manifest into an archive's folder, whole or not at all. Raises OSError."""
    archive.mkdir(parents=True, exist_ok=True)
    partial = archive / f".{FILE}.{os.getpid()}"
    with partial.open("wb") as out:
        out.write(msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n")
        out.flush()
        os.fsync(out.fileno())
    partial.replace(archive / FILE)


def iso(at_ns: int) -> str:
    """Return a time as ISO 8601 in UTC with microseconds; as ns if it is outside the calendar."""
    try:
        second = datetime.fromtimestamp(at_ns // NS_PER_S, UTC)
    except (ValueError, OverflowError, OSError):
        return f"{at_ns} ns"
    return f"{second:%Y-%m-%dT%H:%M:%S}.{at_ns % NS_PER_S // 1000:06d}Z"
