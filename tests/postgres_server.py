"""A real PostgreSQL on loopback, and PgBouncer in front of it, from the programs that the system's packages bring.

Where they cannot be started, the tests that need them fail, as with QuestDB. PostgreSQL refuses to run as root: it then runs as
the user `postgres`, or `nobody`, in a folder that belongs to that user.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import zlib
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest

START_TIMEOUT_S = 60.0
TEMPLATE = "template_of_tests"
QUICK = {"fsync": "off", "full_page_writes": "off"}  # a killed server comes back whole, one after a power cut may not
SETTINGS = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "shared_buffers": "64MB", "jit": "off",
            "max_connections": "60", "timezone": "UTC", "log_timezone": "UTC"}
# members of the role `with_password` must give theirs; anyone else on this machine need not
ACCESS = """host all +with_password 127.0.0.1/32 scram-sha-256
host all all 127.0.0.1/32 trust
host replication all 127.0.0.1/32 trust
"""
DATABASES = count(1)


def program(name: str) -> str:
    """Return the path of one of PostgreSQL's programs, or of pgbouncer: in $PG_BIN, on the PATH, or where Debian puts them."""
    if own := os.environ.get("PG_BIN"):
        return f"{own}/{name}"
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name), reverse=True)
    for folder in (*os.get_exec_path(), *versions, "/usr/sbin"):
        if (found := Path(folder) / name).is_file():
            return str(found)
    raise RuntimeError(f"{name} is missing: packaging/test installs it, or names its package")


def unprivileged() -> dict[str, Any]:
    """Return the arguments of Popen that run a program as another user; empty where we are not root."""
    if os.geteuid():
        return {}
    names = {entry.pw_name for entry in pwd.getpwall()}
    user = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": ()}


def new_folder(name: str) -> Path:
    """Return a new folder of that user, below the temporary folder or the nearest one above it that others may pass."""
    place = Path(tempfile.gettempdir())
    while os.geteuid() == 0 and any(not part.stat().st_mode & 0o001 for part in (place, *place.parents)):
        place = place.parent
    folder = Path(tempfile.mkdtemp(prefix=f"pumpwatch-{name}-", dir=place))
    if as_user := unprivileged():
        os.chown(folder, as_user["user"], as_user["group"])
    return folder


def free_port() -> int:
    """Return a free port outside the ephemeral range, so that a killed server finds it free again."""
    first_given = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text("ascii").split()[0])
    while True:
        port = random.SystemRandom().randrange(10_000, first_given)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def new_cluster() -> Path:
    """Return a cluster that initdb made, to be copied, which takes an eighth of the time: one for all processes of a test run."""
    version = subprocess.run([program("initdb"), "--version"], capture_output=True, check=True).stdout
    made = new_folder("initdb")
    kept = made.with_name(f"pumpwatch-cluster-{zlib.crc32(version):08x}-{unprivileged().get('user', os.geteuid())}")
    try:
        with (made.parent / f"{kept.name}.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not kept.exists():
                command = (program("initdb"), "-D", str(made), "-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-locale",
                           "--no-sync")
                done = subprocess.run(command, cwd=made, capture_output=True, text=True, check=False, **unprivileged())
                if done.returncode:
                    raise RuntimeError(f"initdb failed: {done.stderr}")
                made.rename(kept)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    if kept.stat().st_uid != unprivileged().get("user", os.geteuid()):
        raise RuntimeError(f"{kept} is of another user")
    return kept


class Daemon:
    """A process that writes its log into a folder of its own."""

    ended_by = signal.SIGQUIT  # ends it at once

    def __init__(self, name: str) -> None:
        self.folder, self.port = new_folder(name), free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, *command: str) -> None:
        """Start the process."""
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                             start_new_session=True, **unprivileged())

    def log(self) -> str:
        return (self.folder / "server.log").read_text("utf-8", "replace")

    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def send(self, number: signal.Signals) -> None:
        assert self._process, "the server is not running"
        self._process.send_signal(number)

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """Send a signal that ends the process, and wait for its end."""
        self.send(number)
        assert self._process
        self._process.wait(START_TIMEOUT_S)
        self._process = None

    def remove(self) -> None:
        """End the process if it runs, and remove its folder."""
        if self.runs():
            self.stop(self.ended_by)
        shutil.rmtree(self.folder, ignore_errors=True)


class PostgresServer(Daemon):
    """One server process with its folder and port; both stay the same over restarts.

    durable: it syncs as a real one does. Without it, what was committed survives `kill` and not the machine's end.
    settings: NAME -> value of postgresql.conf.
    """

    def __init__(self, settings: Mapping[str, str] | None = None, *, durable: bool = False) -> None:
        super().__init__("postgres")
        self.data = self.folder / "data"
        self._copies_files: bool | None = None  # as new servers do when asked; without a sync that is the quicker way
        self._settings = {**SETTINGS, "port": str(self.port), **({} if durable else QUICK), **(settings or {})}

    def start(self) -> None:
        """Make the cluster where it does not exist, start the server, and return when it answers."""
        if not self.data.exists():
            subprocess.run(["cp", "-r", str(new_cluster()), str(self.data)], cwd=self.folder, check=True, **unprivileged())
            (self.data / "pg_hba.conf").write_text(ACCESS)
        options = [word for name, value in self._settings.items() for word in ("-c", f"{name}={value}")]
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if not self.runs():  # the processes of one that was killed may hold its memory for a moment
                self.run(program("postgres"), "-D", str(self.data), *options)
            with contextlib.suppress(psycopg.OperationalError):
                self.sql("SELECT 1")
                return
            time.sleep(0.02)
        said = "\n".join(self.log().splitlines()[-15:])
        self.remove()
        raise RuntimeError(f"PostgreSQL did not start:\n{said}")

    def dsn(self, database: str = "postgres", user: str = "postgres") -> str:
        """Return the address of a database."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def sql(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run one statement in a connection of its own; return its rows, [] where it has none."""
        return sql(self.dsn(database), statement)

    def create_database(self) -> str:
        """Create a new empty database and return its name."""
        name = f"test_{next(DATABASES)}"
        template = self._template()
        if self._copies_files is None:
            self._copies_files = int(self.sql("SHOW server_version_num")[0][0]) >= 150_000
        self.sql(f"CREATE DATABASE {name} TEMPLATE {template}{' STRATEGY FILE_COPY' if self._copies_files else ''}")
        return name

    def _template(self) -> str:
        """Return the database that new ones are copies of: of nobody's connections, so that a copy is always allowed."""
        if not self.sql(f"SELECT 1 FROM pg_database WHERE datname = '{TEMPLATE}'"):
            self.sql(f"CREATE DATABASE {TEMPLATE} TEMPLATE template0 ALLOW_CONNECTIONS false IS_TEMPLATE true")
        return TEMPLATE

    def kill(self) -> None:
        """End the server as a power cut would, its connections too."""
        for pid in self._children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.stop(signal.SIGKILL)

    def hang(self) -> None:
        """Suspend the server with its connections: it accepts new ones and answers nothing."""
        self.send(signal.SIGSTOP)
        for pid in self._children():
            os.kill(pid, signal.SIGSTOP)

    def unhang(self) -> None:
        for pid in self._children():
            os.kill(pid, signal.SIGCONT)
        self.send(signal.SIGCONT)

    def remove(self) -> None:
        if self.runs():
            self.unhang()
        super().remove()

    def _children(self) -> list[int]:
        assert self._process, "the server is not running"
        pid = self._process.pid
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()]


class PgBouncer(Daemon):
    """PgBouncer in transaction mode before a server, with a pool of some connections."""

    ended_by = signal.SIGTERM  # a shell that starts tests in the background has the others ignored

    def __init__(self, server: PostgresServer, pool: int) -> None:
        super().__init__("pgbouncer")
        self._server, self._pool = server, pool

    def start(self) -> None:
        """Start it and return when the server answers through it."""
        (self.folder / "users").write_text('"postgres" ""\n')
        (self.folder / "pgbouncer.ini").write_text(
            f"[databases]\n* = host=127.0.0.1 port={self._server.port}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\n"
            f"auth_type = trust\nauth_file = {self.folder}/users\npool_mode = transaction\n"
            f"default_pool_size = {self._pool}\nignore_startup_parameters = extra_float_digits\n")
        self.run(program("pgbouncer"), str(self.folder / "pgbouncer.ini"))
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and self.runs():
            with contextlib.suppress(psycopg.OperationalError):
                sql(self.dsn(), "SELECT 1")
                return
            time.sleep(0.02)
        said = self.log()
        self.remove()
        raise RuntimeError(f"PgBouncer did not start:\n{said}")

    def dsn(self, database: str = "postgres") -> str:
        """Return the address of a database of the server."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"


class Database:
    """One database of a server."""

    def __init__(self, server: PostgresServer, name: str) -> None:
        self.server, self.name, self.dsn = server, name, server.dsn(name)

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        """Run one statement; return its rows, [] where it has none."""
        return sql(self.dsn, statement)

    def value(self, statement: str) -> Any:
        """Return the first column of the first row."""
        return self.sql(statement)[0][0]


def sql(dsn: str, statement: str) -> list[tuple[Any, ...]]:
    """Run one statement in a connection of its own; return its rows, [] where it has none."""
    with psycopg.connect(dsn, autocommit=True, connect_timeout=10, prepare_threshold=None) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """The server that all tests of a session share; idle it uses nothing worth naming."""
    server = PostgresServer()
    server.start()
    yield server
    server.remove()


@pytest.fixture
def postgres(postgres_server: PostgresServer) -> Iterator[Database]:
    """A new empty database of that server."""
    name = postgres_server.create_database()
    yield Database(postgres_server, name)
    postgres_server.sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture
def private_postgres() -> Iterator[PostgresServer]:
    """A server that the test may kill, hang and start again."""
    server = PostgresServer()
    server.start()
    yield server
    server.remove()


@pytest.fixture
def pgbouncer(postgres_server: PostgresServer) -> Iterator[PgBouncer]:
    """PgBouncer before the shared server, with a pool of one connection."""
    bouncer = PgBouncer(postgres_server, pool=1)
    bouncer.start()
    yield bouncer
    bouncer.remove()
