"""Make a backup: write everything to the local folder, send missing objects to S3, then remove old backups."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from pumpwatch import __version__
from pumpwatch.backup import contents
from pumpwatch.backup.keys import recipients_of
from pumpwatch.backup.manifest import BackedUpFile, Manifest, decode, encode, name_of
from pumpwatch.backup.objects import ENCRYPTED, ReadPace
from pumpwatch.backup.plan import BackupPlan
from pumpwatch.backup.questdb import add_database
from pumpwatch.backup.redis import add_redis
from pumpwatch.backup.s3 import S3Shelf
from pumpwatch.backup.shelf import DAY_NS, FolderShelf, disk, prune
from pumpwatch.backup.sinks import add_sinks
from pumpwatch.backup.snapshot import snapshot
from pumpwatch.backup.state import record_result
from pumpwatch.backup.turn import finished, may_finish, shares
from pumpwatch.backup.upload import claim, upload
from pumpwatch.backup.writing import Writing
from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.errors import PumpWatchError, StorageError, UsageError
from pumpwatch.store.lasting import IDENTITY_NAME
from pumpwatch.store.waiting import WAITING_NAME

ARCHIVE_TRIES = 3


class Made(msgspec.Struct):
    """A finished backup. problems: what could not be backed up. error: why it is not in S3. Both are empty after success.

    shared: it contains the stores that all members of a cluster share; fenced: it does not, because another member has them.
    """

    name: str
    where: str
    files: int
    bytes: int
    new_bytes: int
    reused: int
    trades: int
    took_s: float
    problems: list[str]
    removed: list[str]
    s3: str = ""
    uploaded_bytes: int = 0
    error: str = ""
    exit_code: int = 0
    shared: bool = False
    fenced: bool = False


def make(plan: BackupPlan, clock: Clock | None = None) -> Made:
    """Make a backup and record the result. Raises if nothing was backed up; if S3 fails, `error` has the reason.

    Blocks, for minutes on a large folder; a collector runs it in a separate process.
    """
    clock = clock or Clock()
    try:
        made = _make(plan, clock)
    except PumpWatchError as error:
        if Path(plan.data).is_dir():
            record_result(Path(plan.data), clock.now_ns(), "", str(error))
        raise
    record_result(Path(plan.data), clock.now_ns(), made.name, made.error or "; ".join(made.problems),
                  plan.occasion if made.shared else "")
    return made


def _make(plan: BackupPlan, clock: Clock) -> Made:
    recipients = recipients_of(plan.recipients)
    bucket = S3Shelf(plan.s3) if plan.s3 else None  # a missing library is reported before any work
    shelf, began = FolderShelf(Path(plan.folder)), time.monotonic()
    with shelf.locked() as partial, disk(shelf.folder):
        last = newest(shelf)
        writing = Writing(shelf, partial, recipients, ReadPace(plan.mb_per_s * 1e6), _rows_of(last, plan),
                          last.made_at_ns if last else 0)
        made_at_ns = clock.now_ns()
        while name_of(made_at_ns) in shelf.manifests():
            made_at_ns += NS_PER_S
        _add_data(writing, Path(plan.data))
        _add_plain(writing, plan)
        shared, fenced = _add_stores(writing, plan, shelf.folder)
        manifest = Manifest(name_of(made_at_ns), __version__, made_at_ns, round(time.monotonic() - began, 3), bool(recipients),
                            list(writing.rows.values()), writing.problems)
        shelf.write(manifest.name, encode(manifest))
        made = Made(manifest.name, shelf.where, len(manifest.files), manifest.bytes, writing.new_bytes, writing.reused,
                    manifest.trades, manifest.took_s, writing.problems, [], shared=shared, fenced=fenced)
        if shared:
            finished(plan.shared)
        if bucket is not None:
            _copy_to(bucket, shelf, plan, clock, made)
        if not made.error:  # while S3 fails, an old backup may be the only one of its days
            made.removed += prune(shelf, plan.keep_days, clock.now_ns())
    made.took_s = round(time.monotonic() - began, 3)
    made.exit_code = made.exit_code or int(bool(made.problems))
    return made


def _add_stores(writing: Writing, plan: BackupPlan, folder: Path) -> tuple[bool, bool]:
    """Add databases; return whether those that members share are in it, and whether they are not as another member has them."""
    if plan.database and plan.database.folder:
        add_database(writing, plan.database, folder)
    own, problems = set(writing.rows), len(writing.problems)
    if plan.database and not plan.database.folder:
        add_database(writing, plan.database, folder)
    if plan.sinks:
        add_sinks(writing, plan.sinks)
    if plan.redis:
        add_redis(writing, plan.redis)
    if not shares(plan) or len(writing.problems) > problems:
        return False, False
    if may_finish(plan.shared):
        return True, False
    for name in writing.rows.keys() - own:
        del writing.rows[name]
    return False, True


def _copy_to(bucket: S3Shelf, shelf: FolderShelf, plan: BackupPlan, clock: Clock, made: Made) -> None:
    """Copy missing backups to the bucket, and remove its old ones; a failure is recorded in `made`."""
    made.s3 = bucket.where
    try:
        assert plan.s3 is not None
        claim(bucket, owner_of(Path(plan.data)))
        made.uploaded_bytes = upload(shelf, bucket, clock.now_ns() - plan.s3.keep_days * DAY_NS,
                                     only_encrypted=bool(plan.recipients))
        made.removed += [f"{bucket.where}{name}" for name in prune(bucket, plan.s3.keep_days, clock.now_ns())]
    except PumpWatchError as error:
        made.error, made.exit_code = str(error), error.exit_code


def owner_of(data: Path) -> str:
    """Return the identity of a data folder's ledger; empty before it has one."""
    try:
        return (data / IDENTITY_NAME).read_text("utf-8").strip()
    except (OSError, UnicodeError):
        return ""


def newest(shelf: FolderShelf) -> Manifest | None:
    """Return the newest readable backup of a folder."""
    for name in reversed(shelf.manifests()):
        try:
            return decode(shelf.read(name), name)
        except (StorageError, UsageError):
            continue
    return None


def _rows_of(last: Manifest | None, plan: BackupPlan) -> dict[str, BackedUpFile]:
    """Return the files of the last backup that may be reused: encrypted ones if the plan has recipients, else plain ones."""
    return {row.name: row for row in last.files if row.object.endswith(ENCRYPTED) == bool(plan.recipients)} if last else {}


def _add_data(writing: Writing, data: Path) -> None:
    with snapshot(data) as held:
        writing.problems += held.problems
        for file in held.files:
            if file.connection is not None:  # first: while it is held, the collector's log is not reset
                writing.add_copy(file)
        if held.waiting is not None:
            writing.add_bytes(WAITING_NAME, io.BytesIO(held.waiting))
        for file in held.files:
            if file.connection is None:
                writing.add_file(file.name, file.path)


def _add_plain(writing: Writing, plan: BackupPlan) -> None:
    for archive in contents.archives(Path(plan.archives)):
        for _ in range(ARCHIVE_TRIES):
            try:
                manifest, files = contents.archive_files(archive)
            except FileNotFoundError:
                continue
            missing = [file.name for file in files if not writing.add_file(file.name, file.path)]
            if not missing and contents.is_same(archive, manifest):
                break
        else:
            if archive.is_dir():
                writing.problems.append(f"{archive.name}: it was replaced each time it was read")
    for file in (*contents.reports(Path(plan.data)), *contents.config_files(plan.config_files)):
        writing.add_file(file.name, file.path)


def would_write(plan: BackupPlan) -> Iterator[dict[str, Any]]:
    """Yield a row for each file of a backup: name, bytes, and whether the last backup's object is reused. Writes nothing."""
    before = _rows_of(newest(FolderShelf(Path(plan.folder))), plan)

    def row(name: str, path: Path) -> dict[str, Any]:
        state, known = path.stat(), before.get(name)
        same = known is not None and (known.changed_ns, known.bytes) == (state.st_mtime_ns, state.st_size)
        return {"name": name, "bytes": state.st_size, "unchanged": same}

    with snapshot(Path(plan.data)) as held:
        yield from (row(file.name, file.path) for file in held.files if file.path.exists())
    for archive in contents.archives(Path(plan.archives)):
        yield from (row(file.name, file.path) for file in contents.archive_files(archive)[1])
    for file in (*contents.reports(Path(plan.data)), *contents.config_files(plan.config_files)):
        yield row(file.name, file.path)
    if plan.database:
        yield {"name": f"questdb ({plan.database.url})", "bytes": None, "unchanged": False}
    for name in plan.sinks.options if plan.sinks else ():
        yield {"name": f"sinks/{name}", "bytes": None, "unchanged": False}
    if plan.redis:
        yield {"name": f"redis ({', '.join(plan.redis.nodes)})", "bytes": None, "unchanged": False}
