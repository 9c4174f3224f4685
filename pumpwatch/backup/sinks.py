"""The sinks of a backup: a plugin holds its store at one moment and yields parts; a restore gives them back to the plugin."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, cast

from gevent.fileobject import FileObjectPosix, FileObjectThread

from pumpwatch.backup.manifest import BackedUpFile, Manifest
from pumpwatch.backup.objects import unpack
from pumpwatch.backup.plan import SinkBackups
from pumpwatch.backup.shelf import Shelf, copy_room
from pumpwatch.backup.writing import Writing
from pumpwatch.config import Config
from pumpwatch.errors import PumpWatchError, StorageError, UsageError
from pumpwatch.plugins import load_plugins
from pumpwatch.sink_abilities import BackedUpSink, BackupPart, HeldBackup

FOLDER = "sinks"
PACKED = 8  # at most this many bytes of a server, with its indexes, become one byte of a backup


def add_sinks(writing: Writing, sinks: SinkBackups) -> None:
    """Add each sink. A sink with an error is recorded as a problem and left out; the rest of the backup is still made."""
    for name, options in sinks.options.items():
        place = f"{FOLDER}/{name}"
        try:
            _add(writing, place, sink_of(Config(sinks={name: options}, plugins=sinks.plugins), name))
        except PumpWatchError as error:
            writing.drop_below(place)
            writing.problems.append(f"{place}: {error}")


def sink_of(config: Config, name: str) -> BackedUpSink:
    """Return a sink of the config. Raises UsageError if it does not exist or cannot be backed up."""
    if name not in config.sinks:
        raise UsageError(f"sinks.{name}: the config has no such sink", "give the config of the collector with -c")
    sink = load_plugins(config).make_sinks(config)[name]
    if not isinstance(sink, BackedUpSink):
        raise UsageError(f"sinks.{name}: this sink cannot be backed up this way",
                         "see docs/backup.md: QuestDB has its own config keys")
    return sink


def _add(writing: Writing, place: str, sink: BackedUpSink) -> None:
    with sink.backup() as held:
        fresh = [part for part in held.parts if not writing.has_before(f"{place}/{part.name}", part.key)]
        copy_room(writing.folder, sum(part.size_bytes for part in fresh) // PACKED)
        for part in held.parts:
            if part not in fresh and writing.add_again(f"{place}/{part.name}"):
                continue
            _read(writing, f"{place}/{part.name}", held, part)


def _read(writing: Writing, name: str, held: HeldBackup, part: BackupPart) -> None:
    with held.open(part) as source:
        writing.add_part(name, source, part.key)
    writing.count_rows(name, held.rows(part))


def parts_of(manifest: Manifest, name: str) -> dict[str, BackedUpFile]:
    """Return the files of a sink in a backup by the names of their parts."""
    start = f"{FOLDER}/{name}/"
    return {row.name.removeprefix(start): row for row in manifest.files if row.name.startswith(start)}


def sinks_in(manifest: Manifest) -> list[str]:
    """Return the sinks that a backup holds."""
    return sorted({row.name.split("/")[1] for row in manifest.files if row.name.startswith(f"{FOLDER}/")})


def restore_sink(shelf: Shelf, manifest: Manifest, name: str, sink: BackedUpSink, identities: Sequence[Any],
                 checked: Callable[[BackedUpFile], None] = lambda row: None) -> dict[str, int]:
    """Check a sink's files, fill the empty sink with them, and compare the rows; return the number of rows of each table.

    Raises UsageError if the backup does not hold the sink, StorageError if a file is damaged or rows are missing, and the errors
    of the sink.
    """
    files = parts_of(manifest, name)
    if not files:
        held = ", ".join(sinks_in(manifest)) or "none"
        raise UsageError(f"{manifest.name} does not hold the sink {name}", f"it holds: {held}; choose with --sink")
    for row in files.values():
        _check(shelf, row, identities)
        checked(row)

    @contextmanager
    def open_part(part: str) -> Iterator[BinaryIO]:
        with piped(shelf, files[part], identities) as source:
            yield source

    def judge(found: Mapping[str, Mapping[str, int]]) -> None:
        for part, row in files.items():
            for table, wanted in row.rows.items():
                if (there := found.get(part, {}).get(table, 0)) != wanted:
                    raise StorageError(f"{name}: table {table} has {there:,} rows, and {wanted:,} were backed up",
                                       "take another backup")

    found = sink.restore(list(files), open_part, judge)
    judge(found)
    return {table: rows for part in files for table, rows in found.get(part, {}).items()}


class _Nowhere:
    def write(self, piece: bytes) -> int:
        return len(piece)

    def flush(self) -> None:
        """Do nothing."""


def _check(shelf: Shelf, row: BackedUpFile, identities: Sequence[Any]) -> None:
    with shelf.open(row.object) as source:
        summed = unpack(source, _Nowhere(), row.object, identities)  # type: ignore[arg-type]
    if summed != (row.sha256, row.bytes):
        raise StorageError(f"{row.name}: {row.object} is damaged: its content is not what was backed up",
                           "take another backup: `pumpwatch backup list` shows them")


@contextmanager
def piped(shelf: Shelf, row: BackedUpFile, identities: Sequence[Any]) -> Iterator[BinaryIO]:
    """Yield a file of a backup as a pipe, which a program may read; nothing is written to a disk.

    Errors of reading the object are raised once the reader is done. In a process that gevent has patched, the thread is a
    greenlet, so neither end of the pipe may block the hub. The end that a program inherits blocks as usual.
    """
    reading, writing = os.pipe()
    failed: list[BaseException] = []

    def fill() -> None:
        try:
            with FileObjectPosix(writing, "wb") as target, shelf.open(row.object) as source:
                unpack(source, cast(BinaryIO, target), row.object, identities)
        except BrokenPipeError:
            pass  # the reader needs no more
        except (PumpWatchError, OSError) as error:
            failed.append(error)

    thread = threading.Thread(target=fill, name=f"reading {Path(row.name).name}", daemon=True)
    thread.start()
    source = FileObjectThread(reading, "rb")
    try:
        yield cast(BinaryIO, source)
    finally:
        with suppress(OSError):
            source.close()
        thread.join()
    if failed:
        raise failed[0]
