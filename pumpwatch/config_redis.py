"""The section `redis`: state that processes and hosts share. It is off without nodes."""

from __future__ import annotations

import re
from typing import Annotated

from msgspec import Meta

from pumpwatch.config_errors import ConfigSource
from pumpwatch.config_section import Section
from pumpwatch.errors import ConfigError

Prefix = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
NODE = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9_.-]+):(\d{1,5})")


class RedisConfig(Section):
    """A Redis Cluster, or a single Redis."""

    nodes: list[str] = []  # host:port; one node of a cluster is enough, several are safer
    username: str = ""
    password: str = ""
    tls: bool = False
    ca_file: str = ""
    prefix: Prefix = "pumpwatch"  # of every key, so that several programs may share a Redis


def node_address(node: str) -> tuple[str, int]:
    """Return host and port of `host:port` or `[IPv6]:port`. Raises ValueError for anything else."""
    found = NODE.fullmatch(node)
    if not found or not 0 < int(found[2]) < 65536:
        raise ValueError(f"{node!r} is not host:port")
    return found[1].strip("[]"), int(found[2])


def check_redis(redis: RedisConfig, source: ConfigSource) -> None:
    """Raise ConfigError for an invalid address or a combination that cannot work."""
    def wrong(key: str, problem: str, hint: str = "") -> ConfigError:
        return ConfigError(f"{source.at(key)}: {key}: {problem}", hint)

    for number, node in enumerate(redis.nodes):
        try:
            node_address(node)
        except ValueError as error:
            raise wrong(f"redis.nodes.{number}", str(error), "give host:port, such as \"127.0.0.1:6379\"") from error
    if redis.username and not redis.password:
        raise wrong("redis.username", "a user needs redis.password")
    if redis.ca_file and not redis.tls:
        raise wrong("redis.ca_file", "is only used with redis.tls", "set redis.tls: true")
