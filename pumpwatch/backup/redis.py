"""Back up a Redis: a snapshot of each master, as for a replica.

The server forks and sends its snapshot, as for BGSAVE, and answers meanwhile. This module speaks the server's protocol itself, so
neither the client library nor redis-cli is needed. Redis holds only caches, sessions and leases, which are all rebuilt, so it is
backed up only if the config says so. Document: redis.io/docs/latest/operate/oss_and_stack/management/replication.
"""

from __future__ import annotations

import io
import json
import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pumpwatch.backup.writing import Writing
from pumpwatch.config_redis import RedisConfig, node_address
from pumpwatch.errors import ConfigError, PumpWatchError, ServiceUnavailable

FOLDER, ABOUT = "redis", "redis/about.json"
ANSWER_S, SNAPSHOT_S = 10.0, 600.0  # limits for an answer, and for the snapshot
LOGIN = ("NOAUTH", "WRONGPASS", "NOPERM")
SINGLE = re.compile("cluster support disabled|unknown command", re.IGNORECASE)  # errors of a server without a cluster
SHOWN = 200
Address = tuple[str, int]


def add_redis(writing: Writing, config: RedisConfig) -> None:
    """Add the snapshot of each master. An error is recorded as a problem, and the backup then has no snapshot at all."""
    try:
        masters = masters_of(config)
        for (host, port), _ in masters:
            with _Node(config, (host, port)) as node, node.snapshot() as source:
                writing.add_bytes(f"{FOLDER}/{host.replace(':', '-')}_{port}.rdb", source)
        about = {"masters": [{"address": f"{host}:{port}", "slots": slots} for (host, port), slots in masters]}
        writing.add_bytes(ABOUT, io.BytesIO(json.dumps(about).encode()))
    except PumpWatchError as error:
        writing.drop_below(FOLDER)
        writing.problems.append(f"redis: {error}")


def masters_of(config: RedisConfig) -> list[tuple[Address, list[tuple[int, int]]]]:
    """Return each master with its ranges of slots, or a single server without any. Raises ServiceUnavailable or ConfigError."""
    problem = ServiceUnavailable("the config does not name a node", "set redis.nodes")
    for address in map(node_address, config.nodes):
        try:
            with _Node(config, address) as node:
                rows = node.call("CLUSTER", "SLOTS")
        except ServiceUnavailable as error:
            problem = error
            continue
        if isinstance(rows, Refusal):
            if SINGLE.search(rows):
                return [(address, [])]
            problem = ServiceUnavailable(f"Redis at {node.place} does not list its masters: {rows}")
            continue  # it loads its data, or has no connection left: another node may answer
        found: dict[Address, list[tuple[int, int]]] = {}
        for first, last, master, *_ in rows:
            host = bytes(master[0] or b"").decode() or address[0]
            if host == "?":  # the node is set to announce a host name, and has none
                raise ServiceUnavailable(f"Redis at {node.place}: the nodes do not announce their addresses",
                                         "set cluster-announce-hostname, or cluster-preferred-endpoint-type ip, on each")
            found.setdefault((host, int(master[1])), []).append((int(first), int(last)))
        if not found:
            raise ServiceUnavailable(f"Redis at {node.place}: the cluster has no slots",
                                     "create it with redis-cli --cluster create")
        return sorted(found.items())
    raise problem


class Refusal(str):
    """An error as a server's answer."""


class _Node:
    """A connection to one server. Raises ServiceUnavailable, or ConfigError if it rejects the login."""

    def __init__(self, config: RedisConfig, address: Address) -> None:
        self._config, self._address, self.place = config, address, f"{address[0]}:{address[1]}"

    def __enter__(self) -> _Node:
        config = self._config
        try:
            plain = socket.create_connection(self._address, ANSWER_S)
            self._socket = plain if not config.tls else ssl.create_default_context(
                cafile=config.ca_file or None).wrap_socket(plain, server_hostname=self._address[0])
        except OSError as error:
            raise ServiceUnavailable(f"Redis at {self.place} does not answer: {error}", "check that it runs there") from error
        self._file = self._socket.makefile("rb")
        try:
            if config.password:
                said = self.call("AUTH", *([config.username] if config.username else []), config.password)
                if isinstance(said, Refusal):
                    raise self._login(said)
            return self
        except BaseException:
            self._close()
            raise

    def __exit__(self, *error: object) -> None:
        self._close()

    def _close(self) -> None:
        self._file.close()
        self._socket.close()

    def _login(self, said: Refusal) -> ConfigError:
        return ConfigError(f"Redis at {self.place} rejects the login: {said}",
                           "set redis.username and redis.password; the user needs +sync and +cluster|slots")

    def call(self, *words: str) -> Any:
        """Send a command and return its answer; an error of the command is returned as a Refusal."""
        self._send(*words)
        with self._waiting():
            answer = self._answer()
        if isinstance(answer, Refusal) and answer.startswith(LOGIN):
            raise self._login(answer)
        return answer

    def _send(self, *words: str) -> None:
        texts = [word.encode() for word in words]
        with self._waiting():
            self._socket.sendall(b"*%d\r\n" % len(texts) + b"".join(b"$%d\r\n%s\r\n" % (len(text), text) for text in texts))

    @contextmanager
    def _waiting(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:
            raise ServiceUnavailable(f"Redis at {self.place} does not answer: {error}") from error

    def _line(self) -> bytes:
        line = self._file.readline(65_536)
        if not line.endswith(b"\r\n"):
            raise ServiceUnavailable(f"Redis at {self.place} has closed the connection")
        return line[:-2]

    def _answer(self) -> Any:
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind == b"-":
            return Refusal(rest.decode("utf-8", "replace")[:SHOWN])
        if kind == b"+":
            return rest
        if kind == b"$":
            return None if rest == b"-1" else self._file.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return [self._answer() for _ in range(int(rest))]
        return int(rest)

    @contextmanager
    def snapshot(self) -> Iterator[_Snapshot]:
        """Yield the server's snapshot. Raises ServiceUnavailable if the server does not make one."""
        self._socket.settimeout(SNAPSHOT_S)
        self._send("SYNC")
        with self._waiting():
            while (line := self._file.readline(65_536)) == b"\n":
                pass  # sent while the server saves, to keep the connection alive
        if not line.startswith(b"$") or not line[1:].strip().isdigit():
            said = Refusal(line[1:].decode("utf-8", "replace").strip()[:SHOWN])
            raise self._login(said) if said.startswith(LOGIN) else ServiceUnavailable(
                f"Redis at {self.place} does not make a snapshot: {said or 'the connection was cut off'}")
        yield _Snapshot(self._file, int(line[1:]), self.place)


class _Snapshot:
    """A stream of exactly the snapshot's bytes; later changes would follow them on the connection."""

    def __init__(self, file: Any, size: int, place: str) -> None:
        self._file, self._left, self._place = file, size, place

    def read(self, size: int = -1) -> bytes:
        """Return at most `size` bytes. Raises ServiceUnavailable if the snapshot is cut off."""
        wanted = self._left if size < 0 else min(size, self._left)
        try:
            piece = bytes(self._file.read(wanted)) if wanted else b""
        except OSError as error:
            raise ServiceUnavailable(f"Redis at {self._place}: the snapshot was cut off: {error}") from error
        if len(piece) < wanted:
            raise ServiceUnavailable(f"Redis at {self._place}: the snapshot was cut off, {self._left - len(piece):,} bytes short")
        self._left -= wanted
        return piece
