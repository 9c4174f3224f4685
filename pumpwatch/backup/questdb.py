"""Back up a QuestDB: its files under a checkpoint if they are on this host, else its tables as Parquet, by partition.

Measured on server 9.3.4: after CHECKPOINT CREATE the files of every table may be copied while the server goes on writing. The
folder `.checkpoint` holds the state of the checkpoint; a server that finds the file `_restore` in its root returns to that state.
A second CREATE is rejected until RELEASE; RELEASE without a checkpoint succeeds. `/exp` with `fmt=parquet` streams a query as
Parquet.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import requests

from pumpwatch.backup.plan import QuestDBSource
from pumpwatch.backup.writing import Writing
from pumpwatch.errors import ConfigError, PumpWatchError, ServiceUnavailable
from pumpwatch.store.sqlite import write_private

log = logging.getLogger(__name__)

FILES, PARQUET = "questdb", "questdb-parquet"
TABLES = ("trades", "exchange_health", "listing_events")
MARKER = "questdb.checkpoint"  # in the backup folder while our checkpoint may be held
TRIGGER = "_restore"  # a server that finds it in its root returns to the checkpoint
COPIED = ("db", "conf", ".checkpoint")  # folders of the root
SQL_S, CHECKPOINT_S, EXPORT_S = 20.0, 120.0, 600.0
RELEASE_TRIES, RELEASE_PAUSE_S = 3, 2.0


class _Answer(msgspec.Struct):
    dataset: list[list[Any]] = []
    error: str = ""


class QuestDB:
    """SQL over HTTP to one server. Raises ServiceUnavailable, or ConfigError if it rejects the user."""

    def __init__(self, database: QuestDBSource) -> None:
        self._database = database
        self._where = f"QuestDB at {urlsplit(database.url).netloc}"

    def sql(self, statement: str, timeout_s: float = SQL_S) -> list[list[Any]]:
        """Run one statement and return its rows."""
        with self._get("/exec", {"query": statement}, timeout_s) as answer:
            try:
                body = msgspec.json.decode(answer.content, type=_Answer)
            except (ValueError, requests.RequestException) as error:
                raise ServiceUnavailable(f"{self._where}: HTTP {answer.status_code}: not an answer to SQL") from error
        if body.error:
            raise ServiceUnavailable(f"{self._where} rejects {statement.partition(' ')[0]}: {body.error}")
        return body.dataset

    @contextmanager
    def parquet(self, query: str) -> Iterator[Any]:
        """Yield the answer to a query as a stream of Parquet."""
        with self._get("/exp", {"query": query, "fmt": "parquet"}, EXPORT_S) as answer:
            if answer.status_code != 200 or "parquet" not in answer.headers.get("Content-Type", ""):
                raise ServiceUnavailable(f"{self._where} does not export Parquet: HTTP {answer.status_code}: {answer.text[:200]}",
                                         "this needs QuestDB 9.3 or newer")
            try:
                yield _Stream(answer)
            except requests.RequestException as error:
                raise ServiceUnavailable(f"{self._where}: the export was cut off: {error}") from error

    @contextmanager
    def _get(self, path: str, query: dict[str, str], timeout_s: float) -> Iterator[requests.Response]:
        database = self._database
        try:
            with requests.Session() as session:
                session.trust_env = False
                answer = session.get(database.url + path, params=query, stream=True, allow_redirects=False,
                                     timeout=(SQL_S, timeout_s), verify=database.ca_file or True,
                                     auth=(database.user, database.password) if database.user else None)
                with answer:
                    if answer.status_code in (401, 403):
                        raise ConfigError(f"{self._where} rejects the user", "set sinks.questdb.user and sinks.questdb.password")
                    yield answer
        except requests.RequestException as error:
            raise ServiceUnavailable(f"{self._where} does not answer: {error}", "check that QuestDB runs there") from error


class _Stream:
    """The body of an answer as a stream."""

    def __init__(self, answer: requests.Response) -> None:
        self._pieces = answer.iter_content(256 << 10)
        self._rest = b""

    def read(self, size: int = -1) -> bytes:
        if not self._rest:
            self._rest = next(self._pieces, b"")
        piece, self._rest = (self._rest, b"") if size < 0 else (self._rest[:size], self._rest[size:])
        return piece


@contextmanager
def checkpoint(questdb: QuestDB, marker: Path) -> Iterator[None]:
    """Hold a checkpoint, and release it in any case; a checkpoint that a killed backup has left is released first.

    Raises ServiceUnavailable if another program holds a checkpoint, or if ours cannot be released.
    """
    if questdb.sql("SELECT in_progress FROM checkpoint_status()")[0][0]:
        if not marker.exists():
            raise ServiceUnavailable("QuestDB: another program holds a checkpoint", "wait for it, or end it: CHECKPOINT RELEASE")
        questdb.sql("CHECKPOINT RELEASE", CHECKPOINT_S)
    write_private(marker, b"released by the collector, the next backup, or: CHECKPOINT RELEASE\n")
    try:
        questdb.sql("CHECKPOINT CREATE", CHECKPOINT_S)
        yield
    finally:
        _release(questdb)
        marker.unlink(missing_ok=True)


def release_left_over(database: QuestDBSource, marker: Path) -> None:
    """Release the checkpoint that a killed backup has left, because it makes the server keep replaced files.

    The caller holds the lock of the backup folder. Raises ServiceUnavailable, ConfigError.
    """
    if marker.exists():
        _release(QuestDB(database))
        marker.unlink(missing_ok=True)


def _release(questdb: QuestDB) -> None:
    for left in range(RELEASE_TRIES - 1, -1, -1):
        try:
            questdb.sql("CHECKPOINT RELEASE", CHECKPOINT_S)
            return
        except ServiceUnavailable as error:
            if not left:
                raise ServiceUnavailable(f"QuestDB: the checkpoint cannot be released: {error.message}",
                                         "the collector tries again; or run: CHECKPOINT RELEASE") from error
            time.sleep(RELEASE_PAUSE_S)


def add_database(writing: Writing, database: QuestDBSource, folder: Path) -> None:
    """Add a QuestDB to a backup. An error is recorded as a problem, and the rest of the backup is still made."""
    try:
        if database.folder:
            _add_files(writing, database, folder / MARKER)
        else:
            _add_parquet(writing, database)
    except PumpWatchError as error:
        writing.problems.append(f"questdb: {error}")


def _add_files(writing: Writing, database: QuestDBSource, marker: Path) -> None:
    root = Path(database.folder)
    if not (root / "db").is_dir():
        raise ConfigError(f"{root} is not the root of a QuestDB on this host",
                          "set backup.questdb_folder to the folder that holds its db/, or backup.questdb_parquet if the server is"
                          " on another host")
    with checkpoint(QuestDB(database), marker):
        for top in COPIED:
            for path in sorted((root / top).rglob("*")):
                if path.suffix != ".lock" and path.is_file() and not path.is_symlink():
                    writing.add_file(f"{FILES}/{path.relative_to(root).as_posix()}", path, may_change=True)


def _add_parquet(writing: Writing, database: QuestDBSource) -> None:
    questdb = QuestDB(database)
    there = {str(row[0]) for row in questdb.sql("SELECT table_name FROM tables()")}
    for table in (f"{database.prefix}{name}" for name in TABLES):
        if table not in there:
            continue
        columns = _exported(questdb, table)
        for partition, rows, active in questdb.sql(f"SELECT name, numRows, active FROM table_partitions('{table}')"):
            name = f"{PARQUET}/{table}/{partition}.parquet"
            if not active and writing.rows_before(name) == {table: rows} and writing.add_again(name):
                continue
            with questdb.parquet(f"SELECT {columns} FROM {table} WHERE timestamp IN '{partition}'") as stream:
                writing.add_bytes(name, stream, {table: int(rows)})


def _exported(questdb: QuestDB, table: str) -> str:
    """Return the columns of a table, VARCHAR as STRING: server 9.3.4 exports a VARCHAR with only short values as NULL."""
    columns = questdb.sql(f"SELECT \"column\", type FROM table_columns('{table}')")
    return ", ".join(f"{name}::string {name}" if kind == "VARCHAR" else name for name, kind in columns)
