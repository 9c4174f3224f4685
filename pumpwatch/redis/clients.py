"""Makes clients of a Redis cluster or a single server, with the same interface.

This module imports redis-py, which is an extra: import it inside functions, after `require_library`.
"""

from __future__ import annotations

import ssl
from typing import Any
from weakref import WeakSet

from gevent.monkey import get_original
from redis import Connection, ConnectionPool, Redis, RedisCluster
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode
from redis.exceptions import RedisClusterException, RedisError
from redis.retry import Retry

from pumpwatch.config_redis import RedisConfig, node_address
from pumpwatch.errors import ConfigError

ANSWER_S = 0.5  # socket timeout: a node that hangs blocks a thread for this long
FAILURES = (RedisError, RedisClusterException, OSError)  # all errors of the library about a server
Address = tuple[str, int]
_socket, _addresses = get_original("socket", "socket"), get_original("socket", "getaddrinfo")
_TlsContext = get_original("ssl", "SSLContext")


class OpenSockets:
    """The open sockets of all threads. Any thread may use it."""

    def __init__(self) -> None:
        self._sockets: WeakSet[Any] = WeakSet()
        self._lock = get_original("_thread", "allocate_lock")()

    def add(self, sock: Any) -> None:
        """Add a connected socket; it counts until it is closed or garbage-collected."""
        with self._lock:
            self._sockets.add(sock)

    def count(self) -> int:
        """Return the number of open sockets."""
        with self._lock:
            return sum(sock.fileno() >= 0 for sock in self._sockets)


class NativeConnection(Connection):
    """A connection whose socket blocks its thread, also in a process that gevent has patched.

    A gevent socket would run a hub in each thread: it is slower, only its own thread can close it, and it crashes at the end of
    the process.
    """

    tls: ssl.SSLContext | None = None
    sockets: OpenSockets | None = None

    def _connect(self) -> Any:
        """Return a connected socket. Raises OSError."""
        sock = self._connected()
        if self.sockets is not None:
            self.sockets.add(sock)
        return sock

    def _connected(self) -> Any:
        problem: OSError = OSError(f"{self.host} has no address")
        for family, kind, protocol, _, address in _addresses(self.host, self.port, 0, 1):  # 1: a stream
            sock = _socket(family, kind, protocol)
            try:
                sock.settimeout(self.socket_connect_timeout)
                sock.setsockopt(6, 1, 1)  # TCP_NODELAY
                sock.connect(address)
                if self.tls is not None:
                    sock = self.tls.wrap_socket(sock, server_hostname=self.host)
                sock.settimeout(self.socket_timeout)
                return sock
            except OSError as error:
                problem = error
                sock.close()
        raise problem


def connection_class(config: RedisConfig, sockets: OpenSockets | None = None) -> type[NativeConnection]:
    """Return the connection class of a config. Raises ConfigError if its certificates cannot be read."""
    if not config.tls:
        return type("CountedConnection", (NativeConnection,), {"sockets": sockets})
    context = _TlsContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if config.ca_file:
            context.load_verify_locations(config.ca_file)
        else:
            context.load_default_certs()
    except OSError as error:
        raise ConfigError(f"redis.ca_file: {config.ca_file}: {error.strerror or error}",
                          "give a PEM file with the certificate of the authority") from error
    return type("TlsConnection", (NativeConnection,), {"tls": context, "sockets": sockets})


class NodeAway(RedisError):
    """The command was not sent, because the node did not answer a moment ago."""

    def __init__(self, address: Address, reason: str) -> None:
        super().__init__(f"node {address[0]}:{address[1]}: {reason}")


class AwayNodes:
    """The nodes that do not answer, the version of the slot map, and the open sockets. Any thread may use it."""

    def __init__(self) -> None:
        self.reasons: dict[Address, str] = {}
        self.version = 0  # grows when slots get other masters
        self.sockets = OpenSockets()
        self.commands: dict[str, Any] = {}  # the server's command table, read once because that takes 20 ms

    def check(self, address: Address) -> None:
        """Raise NodeAway for a node that does not answer."""
        reason = self.reasons.get(address)
        if reason is not None:
            raise NodeAway(address, reason)


class GuardedCluster(RedisCluster):
    """A cluster client that does not wait for nodes that are known to be away."""

    def __init__(self, away: AwayNodes, nodes: list[Address], **named: Any) -> None:
        self.away = away  # before the first command, which is sent at once
        known = [ClusterNode(*node) for node in nodes]  # type: ignore[no-untyped-call]
        host, port = nodes[0]
        # the library uses the connection class only with a URL; the nodes still come from startup_nodes
        super().__init__(url=f"redis://{f'[{host}]' if ':' in host else host}:{port}", startup_nodes=known, **named)

    def close(self) -> None:
        self.disconnect_connection_pools()  # type: ignore[no-untyped-call]
        super().close()

    def get_redis_connection(self, node: ClusterNode) -> Redis:
        self.away.check((node.host, node.port))
        return super().get_redis_connection(node)

    def command(self, **named: Any) -> Any:
        if not self.away.commands:
            self.away.commands = super().command(**named)
        return dict(self.away.commands)

    def pipeline(self, transaction: Any = None, shard_hint: Any = None) -> Any:
        pipe: Any = super().pipeline(transaction, shard_hint)  # type: ignore[no-untyped-call]
        pipe.get_redis_connection = self.get_redis_connection  # the pipeline's class does not inherit from this one
        return pipe


def options(config: RedisConfig, answer_s: float = ANSWER_S, sockets: OpenSockets | None = None) -> dict[str, Any]:
    """Return the arguments of every client. sockets: where those of its connections are counted."""
    return {"connection_class": connection_class(config, sockets), "username": config.username or None,
            "password": config.password or None, "socket_timeout": answer_s, "socket_connect_timeout": answer_s,
            "protocol": 2, "client_name": "pumpwatch", "driver_info": None}  # driver_info would read a file for each client


def node_client(config: RedisConfig, address: Address, answer_s: float = ANSWER_S,
                sockets: OpenSockets | None = None) -> Redis:
    """Return a client of one node that never retries. It does not connect yet."""
    return Redis.from_pool(ConnectionPool(host=address[0], port=address[1], retry=Retry(NoBackoff(), 0),
                                          **options(config, answer_s, sockets)))


def cluster_client(config: RedisConfig, known: list[Address], away: AwayNodes) -> GuardedCluster:
    """Return a client of the cluster; it reads the slot map at once, first from nodes that are not away."""
    seeds = [address for address in known if address not in away.reasons] or known
    # One retry after a fail-over; longer waits are up to the caller.
    return GuardedCluster(away, seeds, retry=Retry(NoBackoff(), 1), require_full_coverage=False,
                          **options(config, sockets=away.sockets))


def configured(config: RedisConfig) -> list[Address]:
    """Return the addresses of the config."""
    return [node_address(node) for node in config.nodes]
