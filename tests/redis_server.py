"""Real Redis nodes on loopback, from the programs that Debian's `redis-server` and `redis-tools` bring: six as a cluster, or one.

Where they cannot be started, the tests that need them fail, as with PostgreSQL.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.crc import key_slot
from redis.exceptions import RedisError

START_TIMEOUT_S = 60.0
NODE_TIMEOUT_MS = 1000  # a master that is silent for so long has failed; its replica then takes over
QUICK = {"save": "", "appendfsync": "no"}
SLOTS = 16384


def program(name: str) -> str:
    """Return the path of redis-server or redis-cli."""
    found = shutil.which(name)
    if found is None:
        raise RuntimeError(f"{name} is missing: packaging/test installs it, or names its package")
    return found


def until(condition: Callable[[], Any], what: str, timeout_s: float = START_TIMEOUT_S) -> Any:
    """Wait until the condition is true, and return what it gave. Errors of Redis count as false."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        with contextlib.suppress(RedisError):
            if found := condition():
                return found
        time.sleep(0.02)
    raise AssertionError(f"not within {timeout_s:g} s: {what}")


def free_port() -> int:
    """Return a free port below the ephemeral range whose bus port, 10,000 higher, is free as well."""
    while True:
        port = random.SystemRandom().randrange(11_000, 22_000)
        with socket.socket() as one, socket.socket() as other, contextlib.suppress(OSError):
            one.bind(("127.0.0.1", port))
            other.bind(("127.0.0.1", port + 10_000))
            return port


class RedisNode:
    """One server process with its folder and port; both stay the same over restarts."""

    def __init__(self, *, cluster: bool = False, settings: dict[str, str] | None = None) -> None:
        self.folder, self.port = Path(tempfile.mkdtemp(prefix="pumpwatch-redis-")), free_port()
        of_cluster = {"cluster-enabled": "yes", "cluster-node-timeout": str(NODE_TIMEOUT_MS), "appendonly": "yes",
                      "cluster-replica-validity-factor": "0", "repl-diskless-sync-delay": "0"}
        self._settings = {**QUICK, **(of_cluster if cluster else {}), **(settings or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self._client: Redis | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def client(self) -> Redis:
        """A client of this node alone; it gives text."""
        if self._client is None:
            password = self._settings.get("requirepass")
            self._client = Redis(port=self.port, password=password, decode_responses=True, protocol=2, socket_timeout=20)
        return self._client

    @property
    def pid(self) -> int:
        assert self._process, "the server is not running"
        return self._process.pid

    def run(self, settings: dict[str, str] | None = None) -> None:
        """Start the process, with further settings this time, and do not wait."""
        words = [word for name, value in (self._settings | (settings or {})).items() for word in (f"--{name}", value)]
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [program("redis-server"), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), *words],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

    def answers(self) -> bool:
        """Return whether it answers and has loaded its data. Raises an error of Redis where it does not."""
        return bool(self.client.ping())

    def start(self) -> None:
        """Start the server and return when it answers."""
        self.run()
        until(self.answers, f"redis-server answers: {(self.folder / 'server.log').read_text('utf-8', 'replace')[-2000:]}")

    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """End the server as a power cut would."""
        if self.runs():
            os.kill(self.pid, signal.SIGKILL)
        if self._process:
            self._process.wait(START_TIMEOUT_S)
        self._process = None

    def hang(self) -> None:
        """Suspend the server: it accepts connections and answers nothing."""
        os.kill(self.pid, signal.SIGSTOP)

    def unhang(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def remove(self) -> None:
        """End the server and remove its folder."""
        self.kill()
        if self._client:
            self._client.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def ask(self, *words: str | int) -> Any:
        """Send a command and return its plain answer."""
        return self.client.execute_command(*words)

    def cluster_id(self) -> str:
        return str(self.ask("CLUSTER MYID"))

    def is_master(self) -> bool:
        return bool(self.client.info("replication")["role"] == "master")


class RedisNodes:
    """A cluster of three masters with a replica each. Nodes are named by their place, 0 to 5."""

    def __init__(self, settings: dict[str, str] | None = None) -> None:
        self.nodes = [RedisNode(cluster=True, settings=settings) for _ in range(6)]

    @property
    def addresses(self) -> list[str]:
        """Return host:port of every node, as the config names them."""
        return [node.address for node in self.nodes]

    def start(self) -> None:
        """Start all nodes as a new cluster and return when every one of them knows that it is complete."""
        for node in self.nodes:
            node.run()
        for node in self.nodes:
            until(node.answers, f"node {node.port} answers")
        password = self.nodes[0]._settings.get("requirepass")
        subprocess.run([program("redis-cli"), *(("-a", password, "--no-auth-warning") if password else ()), "--cluster", "create",
                        *self.addresses, "--cluster-replicas", "1", "--cluster-yes"], check=True, stdout=subprocess.DEVNULL)
        self.wait_until_whole()

    def wait_until_whole(self) -> None:
        """Return when each running node sees every slot served, and each running replica follows its master."""
        def whole() -> bool:
            running = [node for node in self.nodes if node.runs()]
            states = [node.ask("CLUSTER INFO")["cluster_state"] for node in running]
            roles = [node.client.info("replication") for node in running]
            replicas = [role for role in roles if role["role"] == "slave"]
            return (set(states) == {"ok"} and len(running) - len(replicas) == 3
                    and all(role["master_link_status"] == "up" for role in replicas))

        until(whole, "the cluster is whole")

    def masters(self) -> list[RedisNode]:
        """Return the running masters that serve slots, as a node that is no master out of reach sees them."""
        running = [node for node in self.nodes if node.runs()]
        return [node for node in running if node.is_master() and self._slots_of(node)]

    def _slots_of(self, node: RedisNode) -> bool:
        own = next(line for line in _lines(node) if "myself" in line[2])
        return len(own) > 8

    def master_of(self, key: str) -> RedisNode:
        """Return the running master that serves a key."""
        slot = key_slot(key.encode())
        for node in self.nodes:
            if node.runs() and node.is_master():
                own = next(line for line in _lines(node) if "myself" in line[2])
                for part in own[8:]:
                    first, _, last = part.partition("-")
                    if not part.startswith("[") and int(first) <= slot <= int(last or first):
                        return node
        raise AssertionError(f"no running master serves {key}")

    def replica_of(self, master: RedisNode) -> RedisNode:
        """Return the running replica of a master."""
        wanted = master.cluster_id()
        for node in self.nodes:
            if node.runs() and next(line for line in _lines(node) if "myself" in line[2])[3] == wanted:
                return node
        raise AssertionError(f"node {master.port} has no running replica")

    def fail_over(self, key: str) -> RedisNode:
        """Make the replica of a key's master the master, in agreement; return the new one."""
        old = self.master_of(key)
        new = self.replica_of(old)
        until(lambda: new.client.info("replication").get("master_link_status") == "up", "the replica follows")
        new.ask("CLUSTER FAILOVER")
        until(lambda: new.is_master() and not old.is_master(), "the fail-over is done")
        return new

    def wait_for_fail_over(self, key: str, old: RedisNode) -> RedisNode:
        """Return the master of a key once it is another than `old`, which was killed or hangs."""
        def other() -> RedisNode | None:
            slot = key_slot(key.encode())
            for node in self.nodes:
                if node is not old and node.runs() and node.is_master():
                    own = next(line for line in _lines(node) if "myself" in line[2])
                    if any(int(part.split("-")[0]) <= slot <= int(part.split("-")[-1]) for part in own[8:] if part[0] != "["):
                        return node
            return None

        found: RedisNode = until(other, "another node serves the key")
        until(lambda: found.ask("CLUSTER INFO")["cluster_state"] == "ok", "the cluster is up again")
        return found

    def begin_move(self, key: str) -> tuple[RedisNode, RedisNode]:
        """Put a key's slot between two masters: what the old one lacks is answered with ASK. Returns old and new."""
        slot, old = key_slot(key.encode()), self.master_of(key)
        new = next(node for node in self.masters() if node is not old)
        new.ask("CLUSTER SETSLOT", slot, "IMPORTING", old.cluster_id())
        old.ask("CLUSTER SETSLOT", slot, "MIGRATING", new.cluster_id())
        return old, new

    def end_move(self, key: str, old: RedisNode, new: RedisNode) -> None:
        """Move the slot's keys and let every master know whose it is."""
        slot, new_id = key_slot(key.encode()), new.cluster_id()
        while keys := old.ask("CLUSTER GETKEYSINSLOT", slot, 100):
            old.ask("MIGRATE", "127.0.0.1", new.port, "", 0, 10_000, "KEYS", *keys)
        for node in (new, old, *(other for other in self.masters() if other not in (new, old))):
            node.ask("CLUSTER SETSLOT", slot, "NODE", new_id)

    def move_slot(self, key: str) -> RedisNode:
        """Move a key's slot to another master, which is returned. Clients learn it by MOVED."""
        old, new = self.begin_move(key)
        self.end_move(key, old, new)
        return new

    def flush(self) -> None:
        """Remove every key and every script."""
        for node in self.masters():
            node.ask("FLUSHALL")
            node.ask("SCRIPT FLUSH")

    def stop_all(self) -> None:
        """Kill every node."""
        for node in self.nodes:
            node.kill()

    def start_all(self) -> None:
        """Start what does not run, and return when the cluster is whole."""
        for node in self.nodes:
            if not node.runs():
                node.run()
        for node in self.nodes:
            until(node.answers, f"node {node.port} answers")
        self.wait_until_whole()

    def mend(self) -> None:
        """Let everything run again that a test killed or suspended."""
        for node in self.nodes:
            if node.runs():
                node.unhang()
        self.start_all()

    def remove(self) -> None:
        for node in self.nodes:
            node.remove()


def _lines(node: RedisNode) -> list[list[str]]:
    """Return the words of each line of CLUSTER NODES: id, address, flags, master, ping, pong, epoch, link, slots."""
    with contextlib.closing(Redis(port=node.port, password=node._settings.get("requirepass"), protocol=2,
                                  decode_responses=True, socket_timeout=20)) as client:
        client.response_callbacks.pop("CLUSTER NODES", None)
        return [line.split() for line in str(client.execute_command("CLUSTER NODES")).splitlines()]


@contextlib.contextmanager
def single(settings: dict[str, str] | None = None) -> Iterator[RedisNode]:
    """Run one server that is no cluster."""
    node = RedisNode(settings=settings)
    try:
        node.start()
        yield node
    finally:
        node.remove()


@contextlib.contextmanager
def six_nodes(settings: dict[str, str] | None = None) -> Iterator[RedisNodes]:
    """Run a cluster of six nodes."""
    nodes = RedisNodes(settings)
    try:
        nodes.start()
        yield nodes
    finally:
        nodes.remove()


@pytest.fixture(scope="session")
def redis_nodes() -> Iterator[RedisNodes]:
    """The cluster that all tests of a session share. A test that breaks it mends it: see `redis_cluster`."""
    with six_nodes() as nodes:
        yield nodes


@pytest.fixture
def redis_cluster(redis_nodes: RedisNodes) -> Iterator[RedisNodes]:
    """The shared cluster, whole and empty; what the test kills, suspends or moves is mended after it."""
    redis_nodes.mend()
    redis_nodes.flush()
    yield redis_nodes
    redis_nodes.mend()


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[RedisNode]:
    """One server that is no cluster, shared by all tests of a session."""
    with single() as node:
        yield node


@pytest.fixture
def single_redis(shared_redis: RedisNode) -> RedisNode:
    """That server, empty."""
    shared_redis.ask("FLUSHALL")
    return shared_redis
