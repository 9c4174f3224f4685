"""Measure time and size of a backup of many trades: made, made again, verified, restored.

The journal is filled by its own writer, in files of an hour at 5,000 trades/s, as a collector's are. The backup runs in a process
of its own, as it does in a collector; `limited` is its time at the default rate of reading, the rest is without a limit.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from pumpwatch.backup.checking import check_backup
from pumpwatch.backup.child import backup_in_child
from pumpwatch.backup.places import manifests_of
from pumpwatch.backup.plan import BackupPlan
from pumpwatch.backup.restore import restore
from pumpwatch.backup.shelf import FolderShelf
from pumpwatch.backup.writing import STILL_NS
from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_S, FakeClock
from pumpwatch.config_backup import BackupConfig
from pumpwatch.stats import Stats
from pumpwatch.store.journal import Journal
from tests.bench.generate import Trades

RATE = 5_000
START_NS = 1_795_000_000 * NS_PER_S
BATCH_S = 1.0  # larger batches than a collector's, so that the journal is made in a fraction of the time


def backups(folder: Path, trades: int) -> dict[str, Any]:
    """Return seconds and bytes of each step for a journal of so many trades."""
    made, fill_s = _timed(lambda: _fill(folder / "data", trades))
    plan = BackupPlan(data=str(folder / "data"), archives=str(folder / "data"), folder=str(folder / "backups"))
    first, backup_s = _timed(lambda: backup_in_child(plan))
    again, again_s = _timed(lambda: backup_in_child(plan))
    shelf = FolderShelf(folder / "backups")
    manifest = manifests_of(shelf, "")[0]
    faults, verify_s = _timed(lambda: list(check_backup(shelf, manifest, [], shelf.sizes())))
    _, restore_s = _timed(lambda: restore(shelf, manifest, folder / "again", []))
    limited = msgspec.structs.replace(plan, folder=str(folder / "limited"), mb_per_s=BackupConfig().mb_per_s)
    _, limited_s = _timed(lambda: backup_in_child(limited))
    assert not faults and not first.problems and manifest.trades == made
    return {"trades": made, "fill_s": fill_s, "bytes": first.bytes, "stored_bytes": first.new_bytes, "backup_s": backup_s,
            "again_s": again_s, "again_bytes": again.new_bytes, "verify_s": verify_s, "restore_s": restore_s,
            "limited_s": limited_s}


def _fill(folder: Path, trades: int) -> int:
    """Write a journal, and return its trades. Its files look as if they had been closed long ago, except the last."""
    catalogue, clock = Catalogue(), FakeClock(START_NS)
    stream, filled = Trades(catalogue, START_NS, RATE, BATCH_S), 0
    journal = Journal(folder, catalogue, clock, Stats())
    journal.open()
    for batch in stream.batches(trades):
        clock.advance((stream.now_ns - clock.now_ns()) / NS_PER_S)
        journal.commit(batch)
        journal.maintain()
        filled += len(batch)
    journal.close()
    for path in sorted((folder / "journal").glob("*.sqlite"))[:-1]:
        os.utime(path, ns=(0, path.stat().st_mtime_ns - 2 * STILL_NS))
    return filled


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    began = time.monotonic()
    return work(), time.monotonic() - began
