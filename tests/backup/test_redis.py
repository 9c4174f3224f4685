"""A real Redis is in a backup where the config asks for it: a snapshot of each master, from which a server starts again."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path

import msgspec
import pytest
from redis.cluster import RedisCluster

from pumpwatch.backup.make import make
from pumpwatch.backup.places import manifests_of
from pumpwatch.backup.plan import BackupPlan
from pumpwatch.backup.redis import masters_of
from pumpwatch.backup.restore import restore
from pumpwatch.backup.shelf import FolderShelf
from pumpwatch.config_redis import RedisConfig
from pumpwatch.errors import ServiceUnavailable
from tests.redis_server import RedisNode, RedisNodes, single


def restored(plan: BackupPlan, folder: Path) -> Path:
    shelf = FolderShelf(Path(plan.folder))
    restore(shelf, manifests_of(shelf, "")[0], folder, [])
    return folder / "redis"


def keys_of(snapshot: Path) -> dict[str, str]:
    """Start a server on a snapshot, and return its keys."""
    node = RedisNode()
    (node.folder / "dump.rdb").write_bytes(snapshot.read_bytes())
    node.start()
    try:
        return {str(key): str(node.client.get(key)) for key in node.client.scan_iter(count=1000)}
    finally:
        node.remove()


def test_servers_started_on_the_snapshots_have_every_key(plan: BackupPlan, redis_cluster: RedisNodes, tmp_path: Path) -> None:
    wanted = {f"pumpwatch:{number}": f"{number} é" for number in range(300)}
    with RedisCluster("127.0.0.1", redis_cluster.masters()[0].port) as client:
        for key, value in wanted.items():
            client.set(key, value)
    made = make(msgspec.structs.replace(plan, redis=RedisConfig(nodes=["127.0.0.1:1", redis_cluster.addresses[0]])))
    assert made.problems == []
    folder = restored(plan, tmp_path / "again")
    snapshots = sorted(folder.glob("*.rdb"))
    about = json.loads((folder / "about.json").read_bytes())["masters"]
    assert len(snapshots) == 3 and sum(last - first + 1 for row in about for first, last in row["slots"]) == 16_384
    found: dict[str, str] = {}
    for snapshot in snapshots:
        found |= keys_of(snapshot)
    assert found == wanted


def test_a_password_is_given_and_a_wrong_one_is_named(plan: BackupPlan, tmp_path: Path) -> None:
    node = RedisNode(settings={"requirepass": "secret"})
    node.start()
    try:
        made = make(msgspec.structs.replace(plan, redis=RedisConfig(nodes=[node.address], password="secret")))
        assert made.problems == []
        assert (restored(plan, tmp_path / "again") / f"127.0.0.1_{node.port}.rdb").read_bytes().startswith(b"REDIS")
        for password in ("wrong", ""):
            made = make(msgspec.structs.replace(plan, redis=RedisConfig(nodes=[node.address], password=password)))
            assert len(made.problems) == 1 and f"redis: Redis at {node.address} rejects the login" in made.problems[0]
            assert made.trades == 10_000, "the rest is backed up"
    finally:
        node.remove()


@pytest.mark.parametrize(("answer", "said"), [
    (b"$1000\r\nREDIS0011", "the snapshot was cut off"),
    (b"-NOMASTERLINK Can't SYNC\r\n", "does not make a snapshot: NOMASTERLINK"),
    (b"", "does not make a snapshot: the connection was cut off")])
def test_a_snapshot_that_is_cut_off_is_not_in_the_backup(plan: BackupPlan, answer: bytes, said: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        def serve() -> None:
            for reply in (b"-ERR This instance has cluster support disabled\r\n", answer):
                line, _ = server.accept()
                with line:
                    line.recv(1000)
                    line.sendall(reply)

        thread = threading.Thread(target=serve)
        thread.start()
        made = make(msgspec.structs.replace(plan, redis=RedisConfig(nodes=[f"127.0.0.1:{server.getsockname()[1]}"])))
        thread.join()
    assert len(made.problems) == 1 and said in made.problems[0]
    assert not [row for row in manifests_of(FolderShelf(Path(plan.folder)), "")[0].files if row.name.startswith("redis/")]


def test_a_redis_that_is_away_costs_its_snapshot_alone(plan: BackupPlan) -> None:
    made = make(msgspec.structs.replace(plan, redis=RedisConfig(nodes=["127.0.0.1:1"])))
    assert len(made.problems) == 1 and "redis: Redis at 127.0.0.1:1 does not answer" in made.problems[0] and made.exit_code == 1


def test_a_node_of_a_cluster_that_refuses_is_no_single_server(redis_cluster: RedisNodes) -> None:
    full = redis_cluster.nodes[0]
    clients = str(full.client.config_get("maxclients")["maxclients"])
    full.ask("CONFIG", "SET", "maxclients", "1")
    try:
        assert len(masters_of(RedisConfig(nodes=redis_cluster.addresses[:2]))) == 3
        with pytest.raises(ServiceUnavailable, match="does not list its masters: ERR max number of clients"):
            masters_of(RedisConfig(nodes=[full.address]))
    finally:
        full.ask("CONFIG", "SET", "maxclients", clients)


def test_a_cluster_whose_nodes_do_not_tell_their_addresses_is_named() -> None:
    with single({"cluster-enabled": "yes", "cluster-preferred-endpoint-type": "hostname"}) as node:
        node.ask("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        with pytest.raises(ServiceUnavailable, match="do not announce their addresses"):
            masters_of(RedisConfig(nodes=[node.address]))
