"""Clients know which nodes are away, and how to speak to a server with a password and a certificate."""

from __future__ import annotations

from pathlib import Path

import pytest
import trustme
from redis.exceptions import ConnectionError as RedisConnectionError

from pumpwatch.config_redis import RedisConfig
from pumpwatch.errors import ConfigError
from pumpwatch.redis.clients import AwayNodes, NodeAway, cluster_client, configured, node_client, options
from tests.redis.waiting import connected, patient
from tests.redis_server import RedisNodes, free_port, single


def test_a_cluster_client_does_not_wait_for_a_node_that_is_known_to_be_away(redis_cluster: RedisNodes) -> None:
    config, away = RedisConfig(nodes=redis_cluster.addresses), AwayNodes()
    client = cluster_client(config, configured(config), away)
    master = redis_cluster.master_of("a")
    away.reasons = {("127.0.0.1", master.port): "it hangs"}
    with pytest.raises(NodeAway, match=f"node 127.0.0.1:{master.port}: it hangs"):
        client.get("a")
    pipe = client.pipeline()
    pipe.get("a")
    with pytest.raises(NodeAway):
        pipe.execute()
    away.reasons = {}
    assert client.get("a") is None
    client.close()


def test_the_commands_of_the_server_are_read_once(redis_cluster: RedisNodes) -> None:
    config, away = RedisConfig(nodes=redis_cluster.addresses), AwayNodes()
    cluster_client(config, configured(config), away).close()
    known = away.commands
    cluster_client(config, configured(config), away).close()
    assert away.commands is known and "get" in known


def test_options_hold_the_config_and_nothing_of_it_when_it_is_empty() -> None:
    plain = options(RedisConfig())
    assert plain["username"] is None and plain["password"] is None and plain["connection_class"].tls is None
    assert options(RedisConfig(tls=True))["connection_class"].tls is not None
    with pytest.raises(ConfigError, match=r"redis\.ca_file: /nowhere/ca\.pem: No such file"):
        options(RedisConfig(tls=True, ca_file="/nowhere/ca.pem"))


def test_an_encrypted_server_is_spoken_to_and_its_certificate_checked(tmp_path: Path) -> None:
    folder, authority = tmp_path, trustme.CA()
    authority.cert_pem.write_to_path(f"{folder}/ca.pem")
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(f"{folder}/key.pem")
    certificate.cert_chain_pems[0].write_to_path(f"{folder}/cert.pem")
    port = free_port()
    settings = {"tls-port": str(port), "tls-cert-file": f"{folder}/cert.pem", "tls-key-file": f"{folder}/key.pem",
                "tls-ca-cert-file": f"{folder}/ca.pem", "tls-auth-clients": "no"}
    with single(settings):
        connection = connected([f"127.0.0.1:{port}"], tls=True, ca_file=f"{folder}/ca.pem")
        assert patient(connection, lambda client: client.ping())
        connection.close()
        trustme.CA().cert_pem.write_to_path(f"{folder}/other.pem")
        stranger = node_client(RedisConfig(tls=True, ca_file=f"{folder}/other.pem"), ("127.0.0.1", port), 20.0)
        with pytest.raises(RedisConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
            stranger.ping()
