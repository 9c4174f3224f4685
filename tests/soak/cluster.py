"""Ten members of a cluster against one simulated venue stream, while members and Redis are harmed at random."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path

from tests.redis_server import RedisNode, RedisNodes, single, six_nodes
from tests.soak.cluster_harms import KEY, Members
from tests.soak.cluster_reckoning import ClusterResult, reckon_cluster
from tests.soak.cluster_venue import SHARDS
from tests.soak.scenarios import Sizes

MEMBERS = 10
SETTLED_WITHIN_S = 120.0


def cluster(folder: Path, sizes: Sizes) -> ClusterResult:
    """Kill, suspend, stop and cut off members; restart, hang and empty a single Redis."""
    with single({"appendonly": "yes"}) as redis:
        return run(folder, sizes, redis)


def cluster_nodes(folder: Path, sizes: Sizes) -> ClusterResult:
    """Kill, suspend and stop members; kill the master that has the leases, stop all six nodes, and empty them."""
    with six_nodes() as redis:
        return run(folder, sizes, redis)


def run(folder: Path, sizes: Sizes, redis: RedisNode | RedisNodes) -> ClusterResult:
    """Run with `sizes.times` harms and reckon."""
    rng = random.Random(sizes.seed)
    with venue(folder) as port, ExitStack() as stack:
        members = Members(folder, port, redis, MEMBERS, rng)
        stack.callback(members.kill_all)
        for name in members.names:
            members.start(name)
            members.wait(0.2)
        settle(members, redis)
        from_ns = time.time_ns()
        for number in range(sizes.times):
            members.harm()
            members.wait(rng.uniform(0.2, 4.0))
            if number % 10 == 9:
                print(f"{number + 1} harms", file=sys.stderr, flush=True)
        members.end_harms()
        settle(members, redis)
        to_ns = time.time_ns()
        members.wait(2.0)
        if failed := members.stop():
            raise AssertionError(f"did not end well: {failed}; see {folder}")
    (folder / "harms.json").write_text(json.dumps([asdict(harm) for harm in members.harms]), "utf-8")
    return reckon_cluster(folder, members.harms, from_ns, to_ns)


@contextmanager
def venue(folder: Path) -> Iterator[int]:
    """Run the venue and give its port; it writes the truth at the end."""
    process = subprocess.Popen([sys.executable, "-m", "tests.soak.cluster_venue", str(folder)], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE)
    assert process.stdin
    assert process.stdout
    try:
        yield int(process.stdout.readline())
    finally:
        process.stdin.close()
        process.wait(60)


def settle(members: Members, redis: RedisNode | RedisNodes) -> None:
    """Wait until every shard has been read durably for a while by somebody whose lease lives."""
    deadline, good = time.monotonic() + SETTLED_WITHIN_S, 0
    while good < 10:
        members.wait(0.5)
        node = redis if isinstance(redis, RedisNode) else redis.master_of(KEY)
        seconds, us = node.client.time()
        now = seconds * 1_000_000 + us
        leases = {slot: row.split(" ") for slot, row in node.client.hgetall(KEY).items()}
        everybody = len(node.client.hkeys(KEY.replace("leases", "members"))) == MEMBERS
        stands = everybody and all(int(leases[f"{shard}#0"][2]) > now and now - int(leases[f"{shard}#0"][3]) < 4_000_000
                     for shard in SHARDS if f"{shard}#0" in leases) and len(leases) >= len(SHARDS)
        good = good + 1 if stands else 0
        if time.monotonic() > deadline:
            raise AssertionError(f"not settled: {leases}")
