"""A check finds whatever is wrong with a backup, and names the file."""

from __future__ import annotations

from pathlib import Path

import msgspec

from pumpwatch.backup.checking import check_backup
from pumpwatch.backup.make import make
from pumpwatch.backup.manifest import Manifest
from pumpwatch.backup.places import manifests_of
from pumpwatch.backup.plan import BackupPlan
from pumpwatch.backup.shelf import FolderShelf


def made_by(plan: BackupPlan) -> tuple[FolderShelf, Manifest]:
    make(plan)
    shelf = FolderShelf(Path(plan.folder))
    return shelf, manifests_of(shelf, "")[0]


def test_each_harm_is_named_with_its_file(plan: BackupPlan) -> None:
    shelf, manifest = made_by(plan)
    rows = [row for row in manifest.files if row.name.startswith("journal/")]
    (shelf.folder / rows[0].object).unlink()
    (shelf.folder / rows[1].object).write_bytes(b"short")
    ledger = shelf.folder / manifest.files[0].object
    content = bytearray(ledger.read_bytes())
    content[len(content) // 2] ^= 1
    ledger.write_bytes(content)
    found = {fault.name: fault.problem for fault in check_backup(shelf, manifest, [], shelf.sizes())}
    assert set(found) == {manifest.files[0].name, rows[0].name, rows[1].name}
    assert "missing" in found[rows[0].name] and "5 bytes" in found[rows[1].name] and "damaged" in found[manifest.files[0].name]


def test_counts_that_are_not_those_of_the_file_are_named(plan: BackupPlan) -> None:
    shelf, manifest = made_by(plan)
    files = [msgspec.structs.replace(row, trades=row.trades + 1) if row.trades else row for row in manifest.files]
    faults = list(check_backup(shelf, msgspec.structs.replace(manifest, files=files), [], shelf.sizes()))
    assert len(faults) == 2 and all("its trades differ from the manifest" in fault.problem for fault in faults)
