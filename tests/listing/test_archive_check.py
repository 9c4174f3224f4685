"""An archive that was changed, cut or added to is found."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from pumpwatch.errors import UsageError
from pumpwatch.listing.archive import CHART, Pass, Span, write_archive
from pumpwatch.listing.archive_check import check_archive
from pumpwatch.listing.context import Reach
from pumpwatch.listing.manifest import FileRow, read_manifest, write_manifest
from pumpwatch.listing.open_window import intervals_of
from tests.listing.market import catalogue_of_venues, listing_of, trades

LISTING = listing_of()
RAW = "raw/alpha/spot.json"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    span = Span("KITE", [LISTING], intervals_of([LISTING], Reach()))
    return write_archive(tmp_path, span, trades(0, jump_ms=400), catalogue_of_venues(), [], [], Pass(5)).path


def faults(archive: Path) -> list[tuple[str, str]]:
    return [(fault.file, fault.problem) for fault in check_archive(archive).faults]


def test_an_archive_as_it_was_written_has_no_fault(archive: Path) -> None:
    checked = check_archive(archive)
    assert checked.faults == ()
    assert (checked.files, checked.trades > 500) == (7, True)
    assert checked.bytes == sum(path.stat().st_size for path in archive.rglob("*") if path.is_file()
                                and path.name != "manifest.json")


def test_one_changed_byte_is_found(archive: Path) -> None:
    content = bytearray((archive / RAW).read_bytes())
    content[len(content) // 2] ^= 1
    (archive / RAW).write_bytes(content)
    assert faults(archive) == [(RAW, "its SHA-256 differs")]


def test_a_file_that_is_missing_cut_or_added_is_named(archive: Path) -> None:
    (archive / CHART).unlink()
    size = (archive / RAW).stat().st_size
    with (archive / RAW).open("r+b") as file:
        file.truncate(7)
    (archive / "raw" / "more.json").write_text("{}")
    assert faults(archive) == [(CHART, "missing"), (RAW, f"has 7 bytes, not {size:,}"), ("raw/more.json", "not in the manifest")]


def test_a_manifest_is_not_believed_outside_its_archive(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    manifest = read_manifest(archive)
    assert manifest is not None
    row = FileRow(1, "0" * 64)
    write_manifest(archive, msgspec.structs.replace(manifest, files=manifest.files | {"../secret": row, "/etc/passwd": row}))
    assert faults(archive) == [("../secret", "is outside the archive"), ("/etc/passwd", "is outside the archive")]


def test_a_link_is_not_a_file_of_an_archive(archive: Path, tmp_path: Path) -> None:
    (archive / CHART).rename(tmp_path / CHART)
    (archive / CHART).symlink_to(tmp_path / CHART)
    assert faults(archive) == [(CHART, "is a link")]


def test_without_a_manifest_or_checksums_nothing_is_confirmed(archive: Path) -> None:
    manifest = read_manifest(archive)
    assert manifest is not None
    write_manifest(archive, msgspec.structs.replace(manifest, files={}))
    assert faults(archive) == [("manifest.json", "has no checksums: an older version wrote it")]
    (archive / "manifest.json").write_text("{")
    assert faults(archive) == [("manifest.json", "missing or unreadable")]
    with pytest.raises(UsageError, match="no such folder"):
        check_archive(archive / "nothing")
