"""The section `redis`."""

from __future__ import annotations

from pathlib import Path

import pytest

from pumpwatch.config import load
from pumpwatch.config_redis import node_address
from pumpwatch.errors import ConfigError


def test_an_address_is_a_host_and_a_port() -> None:
    assert node_address("redis-1.example:6379") == ("redis-1.example", 6379)
    assert node_address("[::1]:7000") == ("::1", 7000)


@pytest.mark.parametrize("node", ["", "host", "host:", "host:0", "host:70000", "redis://host:1", "::1:7000"])
def test_anything_else_is_refused(node: str) -> None:
    with pytest.raises(ValueError, match="is not host:port"):
        node_address(node)


@pytest.mark.parametrize(("text", "said"), [
    ("nodes: [nonsense]", "redis.nodes.0: 'nonsense' is not host:port"),
    ("username: bot", "redis.username: a user needs redis.password"),
    ("ca_file: ca.pem", "redis.ca_file: is only used with redis.tls"),
    ("prefix: 'with space'", "redis.prefix"),
    ("prefix: '{tag}'", "redis.prefix"),
])
def test_what_cannot_work_is_a_config_error_that_names_the_key(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "pumpwatch.yaml"
    file.write_text(f"redis:\n  {text}\n")
    with pytest.raises(ConfigError) as refused:
        load(file)
    assert said in str(refused.value) and ":2:" in str(refused.value)
