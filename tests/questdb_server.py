"""A real QuestDB on loopback, started by packaging/questdb as a user would start it.

Where it cannot be started, the tests that need it fail: a store that was not tested does not count as working.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import random
import signal
import socket
import subprocess
import tempfile
import time
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import requests

SCRIPT = Path(__file__).resolve().parent.parent / "packaging" / "questdb"
START_TIMEOUT_S = 90.0
RESTING = {  # workers without work sleep sooner and longer: four idle servers would else take a quarter of a core
    f"QDB_{pool}_WORKER_{key}": value
    for pool in ("SHARED", "SHARED_NETWORK", "SHARED_QUERY", "SHARED_WRITE", "HTTP", "WAL_APPLY", "MAT_VIEW_REFRESH",
                 "VIEW_COMPILER", "EXPORT")
    for key, value in (("NAP_THRESHOLD", "100"), ("SLEEP_THRESHOLD", "1000"), ("SLEEP_TIMEOUT", "50"))
}
SMALL = {  # a new server would else reserve 200 MB for the index of its own, empty tables
    "QDB_CAIRO_WRITER_DATA_INDEX_VALUE_APPEND_PAGE_SIZE": "64K",
}
JAVA = "-XX:TieredStopAtLevel=1"  # it does not live long enough for optimised code to pay off


class QuestDBServer:
    """One server process with its folder and port; both stay the same over restarts.

    settings: QDB_<KEY> -> value. short_lived: it runs for a test, so that a quick start and an idle server that rests matter more
    than its speed.
    """

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None, *, short_lived: bool = True) -> None:
        self.folder = folder
        self._settings, self._short_lived = settings or {}, short_lived
        self.port = _fixed_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def addr(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start the server and return when it answers."""
        environ = os.environ | {
            "QDB_HTTP_BIND_TO": self.addr, "QDB_PG_ENABLED": "false", "QDB_HTTP_MIN_ENABLED": "false",
            "QDB_METRICS_ENABLED": "false", "QDB_DEV_MODE_ENABLED": "true", "QDB_LINE_TCP_ENABLED": "false",
            **(RESTING | SMALL if self._short_lived else {}), **self._settings,
        }
        if self._short_lived and "JAVA_TOOL_OPTIONS" not in self._settings:
            environ["JAVA_TOOL_OPTIONS"] = f"{JAVA} {_shared_classes()}"
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen([str(SCRIPT), "start", str(self.folder)], env=environ, stdout=log,
                                             stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True)
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                self.sql("SELECT 1")
                return
            except requests.ConnectionError:
                time.sleep(0.05)
        lines = (self.folder / "server.log").read_text("utf-8", "replace").splitlines()[-15:]
        self.end()
        raise RuntimeError("QuestDB did not start:\n" + "\n".join(lines))

    def sql(self, statement: str) -> list[Any]:
        """Run one statement; return its rows, [] where it has none."""
        answer = requests.get(f"http://{self.addr}/exec", params={"query": statement}, timeout=30)
        body = answer.json()
        if "error" in body:
            raise RuntimeError(f"{statement}: {body['error']}")
        return list(body.get("dataset", []))

    def value(self, statement: str) -> Any:
        """Return the first column of the first row."""
        return self.sql(statement)[0][0]

    def count(self, table: str = "trades", where: str = "true") -> int:
        """Return the number of visible rows of a table."""
        return int(self.value(f"SELECT count() FROM {table} WHERE {where}"))

    def await_count(self, rows: int, table: str = "trades", timeout_s: float = 60.0) -> int:
        """Wait until at least `rows` rows are visible (the WAL is applied a little later); return the count."""
        deadline = time.monotonic() + timeout_s
        while (seen := self.count(table)) < rows and time.monotonic() < deadline:
            time.sleep(0.2)
        return seen

    def suspend(self, table: str = "trades", timeout_s: float = 60.0) -> None:
        """Suspend a table: it accepts rows, which stay invisible until `ALTER TABLE t RESUME WAL`.

        The server forgets it where it just applies rows to that table (9.3.4): it is told again until the table stays suspended.
        """
        deadline = time.monotonic() + timeout_s
        seen = 0
        while seen < 5:
            if not self.value(f"SELECT suspended FROM wal_tables() WHERE name = '{table}'"):
                assert time.monotonic() < deadline, f"{table} is not suspended"
                self.sql(f"ALTER TABLE {table} SUSPEND WAL")
                seen = 0
            time.sleep(0.1)
            seen += 1

    def kill(self) -> None:
        """End the server as a power cut would."""
        self._signal(signal.SIGKILL)
        assert self._process
        self._process.wait()
        self._process = None

    def stop(self) -> None:
        """End the server as a service manager would."""
        self._signal(signal.SIGTERM)
        assert self._process
        self._process.wait(START_TIMEOUT_S)
        self._process = None

    def hang(self) -> None:
        """Suspend the server: it accepts connections and answers nothing."""
        self._signal(signal.SIGSTOP)

    def unhang(self) -> None:
        self._signal(signal.SIGCONT)

    def end(self) -> None:
        """End the server if it runs."""
        if self._process is not None:
            self.kill()

    def _signal(self, number: signal.Signals) -> None:
        assert self._process, "the server is not running"
        self._process.send_signal(number)


@functools.cache
def _shared_classes() -> str:
    """Return the Java option for an archive of QuestDB's classes, which saves a quarter of a start; "" where there is none.

    The first start on a machine makes it, beside the jar, for this Java. Where that fails, servers start without it, and so
    they do where Java does not accept it. Java checks the header only and dies of damage behind it: a damaged one is made again.
    """
    with contextlib.suppress(OSError, RuntimeError, requests.RequestException, subprocess.SubprocessError):
        jar = Path(subprocess.run([SCRIPT, "fetch"], capture_output=True, text=True, check=True).stdout.strip())
        java = subprocess.run(["java", "-version"], capture_output=True, check=True).stderr
        archive = jar.with_name(f"{jar.stem}-{zlib.crc32(java):08x}.jsa")
        with jar.with_name("jsa.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not _is_whole(archive) or archive.stat().st_mtime < jar.stat().st_mtime:
                _archive_classes(archive)
                _sum_of(archive).write_text(f"{zlib.crc32(archive.read_bytes()):08x}", "ascii")
        return f'"-XX:SharedArchiveFile={archive}"'
    return ""


def _sum_of(archive: Path) -> Path:
    """Return the file that holds an archive's checksum."""
    return archive.with_suffix(".crc32")


def _is_whole(archive: Path) -> bool:
    """Return whether an archive is there and has the bytes that it was made with."""
    try:
        return _sum_of(archive).read_text("ascii") == f"{zlib.crc32(archive.read_bytes()):08x}"
    except (FileNotFoundError, UnicodeDecodeError):
        return False


def _archive_classes(archive: Path) -> None:
    """Run a server once, with the statements of most tests, and keep the classes that it loaded."""
    with tempfile.TemporaryDirectory(dir=archive.parent) as folder:
        made = Path(folder) / archive.name
        server = QuestDBServer(Path(folder) / "server", {"JAVA_TOOL_OPTIONS": f'{JAVA} "-XX:ArchiveClassesAtExit={made}"'})
        try:
            server.start()
            server.sql("CREATE TABLE t (s SYMBOL, x LONG, ts TIMESTAMP) TIMESTAMP(ts) PARTITION BY DAY WAL DEDUP UPSERT KEYS(ts)")
            server.sql("INSERT INTO t SELECT 'a', x, timestamp_sequence(0, 1000) FROM long_sequence(1000)")
            server.await_count(1000, "t")
            server.stop()
            made.replace(archive)
        finally:
            server.end()


def _fixed_port() -> int:
    """Return a free port outside the ephemeral range, so that a killed server finds it free again."""
    first_given = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text("ascii").split()[0])
    while True:
        port = random.SystemRandom().randrange(10_000, first_given)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@pytest.fixture(scope="session")
def hung_questdb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[QuestDBServer]:
    """The server that all tests of a session share, while none of them needs it: idle it would use a tenth of a core."""
    server = QuestDBServer(tmp_path_factory.mktemp("questdb"))
    server.start()
    server.hang()
    yield server
    server.end()


@pytest.fixture(scope="module")
def questdb_server(hung_questdb: QuestDBServer) -> Iterator[QuestDBServer]:
    """The server that all tests of a session share; each test needs tables of its own."""
    hung_questdb.unhang()
    yield hung_questdb
    hung_questdb.hang()


@pytest.fixture
def private_questdb(tmp_path: Path) -> Iterator[QuestDBServer]:
    """A server that the test may kill, hang and start again."""
    server = QuestDBServer(tmp_path / "questdb")
    server.start()
    yield server
    server.end()
