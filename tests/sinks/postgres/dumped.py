"""A backup of one sink in memory, and its restore, without the shelf around it."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO

from pumpwatch.sink_abilities import BackedUpSink, JudgeRows


def dumped(sink: BackedUpSink) -> tuple[dict[str, bytes], dict[str, Mapping[str, int]]]:
    """Return the parts of a backup, and their rows."""
    files, rows = {}, {}
    with sink.backup() as held:
        for part in held.parts:
            with held.open(part) as source:
                content = io.BytesIO()
                while piece := source.read(65_536):
                    content.write(piece)
            files[part.name], rows[part.name] = content.getvalue(), held.rows(part)
    return files, rows


def restored(sink: BackedUpSink, files: Mapping[str, bytes],
             judge: JudgeRows = lambda rows: None) -> Mapping[str, Mapping[str, int]]:
    """Restore parts, and return the rows that are there then."""
    @contextmanager
    def open_part(name: str) -> Iterator[BinaryIO]:
        with TemporaryFile() as file:
            file.write(files[name])
            file.seek(0)
            yield file

    return sink.restore(list(files), open_part, judge)


def only(folder: Path, name: str, script: str) -> str:
    """Make a folder that holds one program, and return it."""
    folder.mkdir(exist_ok=True)
    program = folder / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return str(folder)


def columns(database: Any, table: str) -> list[tuple[Any, ...]]:
    """Return every row of a table."""
    return sorted(database.sql(f"SELECT * FROM pumpwatch.{table}"), key=repr)
