"""Run pg_dump and pg_restore of PostgreSQL's client programs without showing a password to other users."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from pumpwatch_plugins.sinks.postgres.options import PostgresOptions, address_of
from pumpwatch_plugins.sinks.postgres.server import place_of

from pumpwatch import ConfigError, ServiceUnavailable

VERSION_S, END_S = 20.0, 10.0
SHOWN = 300  # characters of a foreign text


class Programs:
    """The client programs for one database."""

    def __init__(self, options: PostgresOptions) -> None:
        self.dsn = options.backup_dsn or options.dsn
        self.place = place_of(self.dsn)
        self._folder, self._password = options.bin_dir, options.password

    def find(self, name: str, least: int, server: str) -> str:
        """Return the path of a program with at least this major version. Raises ConfigError.

        server: describes the server with that version, for the message.
        """
        path = str(Path(self._folder) / name) if self._folder else shutil.which(name)
        hint = f"install postgresql-client-{least} or newer, or set sinks.postgres.bin_dir to the folder that has {name}"
        if path is None or not Path(path).is_file():
            raise ConfigError(f"{name} is not {f'in {self._folder}' if self._folder else 'on the PATH'}", hint)
        try:
            said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=VERSION_S, check=True).stdout
        except (OSError, subprocess.SubprocessError) as error:
            raise ConfigError(f"{path} cannot be run: {error}", hint) from error
        found = re.search(r"(\d+)(?:\.\d+|\w+)*\s*(?:\(|$)", said.strip())
        major = int(found[1]) if found else 0
        if major < least:
            raise ConfigError(f"{path} has version {major}, older than {server} ({least})", hint)
        return path

    @contextlib.contextmanager
    def reading(self, *words: str) -> Iterator[Output]:
        """Run a program and yield its output. The program is ended if the output is not read to its end."""
        with self._running(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as (process, said):
            assert process.stdout
            yield Output(process.stdout, lambda: self._finish(words[0], process, said))

    def feed(self, source: Any, *words: str) -> None:
        """Run a program that reads a pipe. Raises ServiceUnavailable if it fails."""
        with self._running(words, stdin=source, stdout=subprocess.DEVNULL) as (process, said):
            self._finish(words[0], process, said)

    @contextlib.contextmanager
    def _running(self, words: Sequence[str], **pipes: Any) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
        from psycopg.conninfo import make_conninfo

        parts = address_of(self.dsn)
        password = self._password or parts.pop("password", "")
        parts.pop("password", None)
        environ = os.environ | ({"PGPASSWORD": password} if password else {}) | {"LC_ALL": "C"}
        with tempfile.TemporaryFile() as said:
            try:
                process = subprocess.Popen([*words, "--no-password", "--dbname", make_conninfo("", **parts)], env=environ,
                                           stderr=said, **pipes)
            except OSError as error:
                raise ServiceUnavailable(f"{words[0]} cannot be started: {error.strerror}") from error
            try:
                yield process, said
            finally:
                if process.poll() is None:
                    process.terminate()
                    try:
                        process.wait(END_S)
                    except subprocess.TimeoutExpired:
                        process.kill()
                        process.wait()
                if process.stdout:
                    process.stdout.close()

    def _finish(self, program: str, process: subprocess.Popen[bytes], said: IO[bytes]) -> None:
        """Wait for the end of a program. Raises ServiceUnavailable if it failed."""
        if code := process.wait():
            said.seek(0)
            lines = [line for line in said.read().decode("utf-8", "replace").splitlines() if "error" in line.lower()]
            reason = lines[0][:SHOWN] if lines else f"it ended with exit code {code}"
            raise ServiceUnavailable(f"{self.place}: {Path(program).name}: {reason.removeprefix(f'{Path(program).name}: ')}")


class Output:
    """The output of a program. Its end is reported only if the program has succeeded."""

    def __init__(self, pipe: Any, finish: Any) -> None:
        self._pipe, self._finish = pipe, finish

    def read(self, size: int = -1) -> bytes:
        """Return at most `size` bytes, empty at the end. Raises ServiceUnavailable at the end if the program has failed."""
        piece: bytes = self._pipe.read(size)
        if not piece:
            self._finish()
        return piece
