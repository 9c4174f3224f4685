"""A PostgreSQL with the real TimescaleDB extension, started by packaging/timescale: PGlite, PostgreSQL 17 as WebAssembly.

It takes one connection at a time: close each before the next. It has neither COPY nor workers, so policies are stored
and run by nobody: a test refreshes and compresses by call.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.postgres_server import free_port, sql

SCRIPT = Path(__file__).resolve().parent.parent / "packaging" / "timescale"


class TimescaleServer:
    """One server process with one database, which is gone with it."""

    def __init__(self) -> None:
        self.port = free_port()
        self.dsn = f"postgresql://postgres:any@127.0.0.1:{self.port}/postgres?sslmode=disable"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server and return when it takes connections."""
        subprocess.run([SCRIPT, "fetch"], check=True, stdout=subprocess.DEVNULL)
        self._process = subprocess.Popen([SCRIPT, "start", str(self.port)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                         env=os.environ | {"NODE_NO_WARNINGS": "1"}, start_new_session=True)
        assert self._process.stdout
        if self._process.stdout.readline() != b"ready\n":
            self.end()
            raise RuntimeError("PGlite did not start; its messages are above")

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        """Run one statement in a connection of its own; return its rows, [] where it has none."""
        return sql(self.dsn, statement)

    def end(self) -> None:
        """End the server if it runs."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None


@pytest.fixture(scope="module")
def timescale() -> Iterator[TimescaleServer]:
    """A server for the tests of one module; each needs a schema of its own."""
    server = TimescaleServer()
    server.start()
    yield server
    server.end()
