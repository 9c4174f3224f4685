"""An archive's manifest: when its trades were read from the store, how many each pass added, and when it was final.

    {"format": "pumpwatch.manifest/1", "coin": "KITE", "drill": false, "late": false, "final": false, "final_at_ns": null,
     "final_at": null, "trades": 5120, "problems": [], "unpublished": [],
     "passes": [{"at_ns": 1793685626000000000, "at": "2026-11-03T06:00:26.000000Z", "trades": 5120, "added": 5120}]}

`final` is false as long as another pass is to come; trades that it finds in addition are written, and counted in `added`.
`problems` says why trades may be missing, as of the last pass. `unpublished` names the sinks that have not accepted the listing.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from pumpwatch.clock import NS_PER_S

FILE = "manifest.json"
FORMAT = "pumpwatch.manifest/1"
PASSES = 100  # an archive that is replayed often keeps the newest ones


class PassRow(msgspec.Struct, frozen=True):
    """One pass: its time, the number of trades in the archive after it, and how many of them it added."""

    at_ns: int
    at: str
    trades: int
    added: int


class ArchiveManifest(msgspec.Struct, frozen=True, kw_only=True):
    """The content of the file."""

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

    def with_pass(self, at_ns: int, trades: int, added: int, *, final: bool, late: bool,
                  problems: Sequence[str]) -> ArchiveManifest:
        """Return a copy with one more pass."""
        row = PassRow(at_ns, iso(at_ns), trades, added)
        return msgspec.structs.replace(
            self, late=late, final=final, final_at_ns=at_ns if final else None, final_at=iso(at_ns) if final else None,
            trades=trades, problems=tuple(problems), passes=(*self.passes, row)[-PASSES:])


def read_manifest(archive: Path) -> ArchiveManifest | None:
    """Return an archive's manifest, None where it is missing or unreadable."""
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
    """Return a time as ISO 8601 in UTC with microseconds, or in ns where the calendar does not reach it."""
    try:
        second = datetime.fromtimestamp(at_ns // NS_PER_S, UTC)
    except (ValueError, OverflowError, OSError):
        return f"{at_ns} ns"
    return f"{second:%Y-%m-%dT%H:%M:%S}.{at_ns % NS_PER_S // 1000:06d}Z"
