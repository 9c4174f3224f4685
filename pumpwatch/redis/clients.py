"""Make clients of Redis: of a cluster or of a single server, alike for those who use them.

This module imports redis-py, which is an extra: import it inside functions, after `require_library`.
"""

from __future__ import annotations

from typing import Any

from redis import Redis, RedisCluster
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode
from redis.exceptions import RedisClusterException, RedisError
from redis.retry import Retry

from pumpwatch.config_redis import RedisConfig, node_address

ANSWER_S = 0.5  # of a socket: a thread is lost for so long to a node that hangs
FAILURES = (RedisError, RedisClusterException, OSError)  # whatever the library raises about a server
Address = tuple[str, int]


class NodeAway(RedisError):
    """Do not try: the node did not answer a moment ago."""

    def __init__(self, address: Address, reason: str) -> None:
        super().__init__(f"node {address[0]}:{address[1]}: {reason}")


class AwayNodes:
    """The nodes that do not answer, and the version of the map of slots. Any thread may use it."""

    def __init__(self) -> None:
        self.reasons: dict[Address, str] = {}
        self.version = 0  # grows when slots got other masters
        self.commands: dict[str, Any] = {}  # what the server knows: 20 ms of work, done for the first client alone

    def check(self, address: Address) -> None:
        """Raise NodeAway for a node that does not answer."""
        reason = self.reasons.get(address)
        if reason is not None:
            raise NodeAway(address, reason)


class GuardedCluster(RedisCluster):
    """A client of a cluster that does not wait for nodes that are known to be away."""

    def __init__(self, away: AwayNodes, nodes: list[Address], **named: Any) -> None:
        self.away = away  # before the first command, which is sent at once
        super().__init__(startup_nodes=[ClusterNode(*node) for node in nodes], **named)  # type: ignore[no-untyped-call]

    def get_redis_connection(self, node: ClusterNode) -> Redis:
        self.away.check((node.host, node.port))
        return super().get_redis_connection(node)

    def command(self, **named: Any) -> Any:
        if not self.away.commands:
            self.away.commands = super().command(**named)
        return dict(self.away.commands)

    def pipeline(self, transaction: Any = None, shard_hint: Any = None) -> Any:
        pipe: Any = super().pipeline(transaction, shard_hint)  # type: ignore[no-untyped-call]
        pipe.get_redis_connection = self.get_redis_connection  # a class of its own, which knows nothing of this one
        return pipe


def options(config: RedisConfig, answer_s: float = ANSWER_S) -> dict[str, Any]:
    """Return the arguments of every client."""
    found: dict[str, Any] = {"username": config.username or None, "password": config.password or None,
                             "socket_timeout": answer_s, "socket_connect_timeout": answer_s, "protocol": 2,
                             "client_name": "pumpwatch", "driver_info": None}  # which reads a file for each client
    if config.tls:
        found |= {"ssl": True, "ssl_ca_certs": config.ca_file or None}
    return found


def node_client(config: RedisConfig, address: Address, answer_s: float = ANSWER_S) -> Redis:
    """Return a client of one node that never tries twice. It does not connect yet."""
    return Redis(host=address[0], port=address[1], retry=Retry(NoBackoff(), 0), **options(config, answer_s))


def cluster_client(config: RedisConfig, known: list[Address], away: AwayNodes) -> GuardedCluster:
    """Return a client of the cluster; it asks for the map of slots at once, those nodes first that are not away."""
    seeds = [address for address in known if address not in away.reasons] or known
    # Once more after a fail-over; what waits longer than that belongs to those who ask.
    return GuardedCluster(away, seeds, retry=Retry(NoBackoff(), 1), require_full_coverage=False, **options(config))


def configured(config: RedisConfig) -> list[Address]:
    """Return the addresses of the config."""
    return [node_address(node) for node in config.nodes]
