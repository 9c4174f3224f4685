"""The manifest of an archive: whole or absent, passes in order, readable by older and newer versions."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from pumpwatch.listing.manifest import FILE, PASSES, ArchiveManifest, iso, read_manifest, write_manifest
from tests.listing.market import ANNOUNCED_NS

EMPTY = ArchiveManifest(coin="KITE", unpublished=("shelf",))


def test_a_pass_is_added_and_decides_what_is_final(tmp_path: Path) -> None:
    first = EMPTY.with_pass(ANNOUNCED_NS, 5, 5, final=False, late=False, problems=["beta.spot is missing"])
    last = first.with_pass(ANNOUNCED_NS + 1, 7, 2, final=True, late=False, problems=[])
    write_manifest(tmp_path / "archive", last)
    assert read_manifest(tmp_path / "archive") == last
    assert [(row.trades, row.added) for row in last.passes] == [(5, 5), (7, 2)]
    assert (first.final, first.final_at, first.problems) == (False, None, ("beta.spot is missing",))
    assert (last.final, last.final_at, last.problems) == (True, "2026-11-03T06:00:00.000000Z", ())
    assert last.unpublished == ("shelf",)
    assert [path.name for path in (tmp_path / "archive").iterdir()] == [FILE]


def test_the_newest_passes_are_kept() -> None:
    manifest = EMPTY
    for number in range(PASSES + 5):
        manifest = manifest.with_pass(number, number, 1, final=True, late=False, problems=())
    assert [row.at_ns for row in manifest.passes] == list(range(5, PASSES + 5))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"coin": 5}', b'{"format": "another/1", "coin": "KITE"}'])
def test_a_file_that_is_not_a_manifest_is_none(tmp_path: Path, content: bytes) -> None:
    assert read_manifest(tmp_path) is None
    (tmp_path / FILE).write_bytes(content)
    assert read_manifest(tmp_path) is None


def test_a_manifest_of_an_older_or_newer_version_is_read(tmp_path: Path) -> None:
    fields = msgspec.to_builtins(EMPTY)
    del fields["unpublished"]
    (tmp_path / FILE).write_bytes(msgspec.json.encode(fields | {"new": 1}))
    assert read_manifest(tmp_path) == ArchiveManifest(coin="KITE")


def test_a_time_is_iso_8601_where_the_calendar_reaches_it() -> None:
    assert iso(ANNOUNCED_NS + 1_234) == "2026-11-03T06:00:00.000001Z"
    assert iso(10**25) == f"{10**25} ns"
