"""Messages from one connection to another, on real servers."""

from __future__ import annotations

from collections.abc import Iterator

import gevent
import pytest

from pumpwatch.redis.node_watch import NodeWatch
from tests.redis.waiting import connected, eventually, in_thread
from tests.redis_server import RedisNode, RedisNodes

CHANNEL = "pumpwatch:{news}"


class OldWatch(NodeWatch):
    """Takes the servers for old ones until they are updated."""

    updated = False

    @property
    def sharded(self) -> bool:
        return self.updated


class Listener:
    """Two connections, one that listens."""

    def __init__(self, nodes: list[str], *, old: bool = False) -> None:
        self.one, self.other = connected(nodes), connected(nodes)
        if old:  # a server that does not know more
            self.one._watch.__class__ = self.other._watch.__class__ = OldWatch
        self.heard: list[bytes] = []
        self.gaps = 0
        self.subscription = self.one.listen(CHANNEL, self.heard.append, self._gap)
        eventually(lambda: self.gaps == 1, "it has subscribed")

    def _gap(self) -> None:
        self.gaps += 1

    def hears(self, body: bytes) -> bool:
        """Publish and say whether it came, some time after a break."""
        self.other.publish(CHANNEL, body)
        gevent.sleep(0.05)
        return body in self.heard

    def close(self) -> None:
        self.one.close()
        self.other.close()


@pytest.fixture
def listener(redis_cluster: RedisNodes) -> Iterator[Listener]:
    found = Listener(redis_cluster.addresses)
    yield found
    found.close()


def test_messages_with_any_bytes_come_in_order(listener: Listener) -> None:
    bodies = [bytes([n]) * n for n in range(200)]
    for body in bodies:
        listener.other.publish(CHANNEL, body)
    eventually(lambda: len(listener.heard) == 200, "all came")
    assert listener.heard == bodies and listener.gaps == 1


def test_only_the_node_of_the_slot_carries_a_sharded_message(listener: Listener, redis_cluster: RedisNodes) -> None:
    owner = redis_cluster.master_of(CHANNEL)
    counts = {node.port: node.ask("PUBSUB SHARDNUMSUB", CHANNEL)[0][1] for node in redis_cluster.masters()}
    assert counts.pop(owner.port) >= 1 and set(counts.values()) == {0}


def test_a_moved_slot_takes_the_listener_along(listener: Listener, redis_cluster: RedisNodes) -> None:
    in_thread(redis_cluster.move_slot, CHANNEL)
    eventually(lambda: listener.gaps == 2 and listener.hears(b"after"), "it listens at the new node")


def test_a_fail_over_is_a_gap_and_then_messages_come_again(listener: Listener, redis_cluster: RedisNodes) -> None:
    old = redis_cluster.master_of(CHANNEL)
    old.kill()
    in_thread(redis_cluster.wait_for_fail_over, CHANNEL, old)
    eventually(lambda: listener.hears(b"after"), "it listens at the new master")
    assert listener.gaps >= 2


def test_a_node_that_hangs_is_left_for_its_replica(listener: Listener, redis_cluster: RedisNodes) -> None:
    old = redis_cluster.master_of(CHANNEL)
    old.hang()
    in_thread(redis_cluster.wait_for_fail_over, CHANNEL, old)
    eventually(lambda: listener.hears(b"after"), "it listens at the new master")


def test_a_closed_subscription_hears_nothing(listener: Listener, redis_cluster: RedisNodes) -> None:
    listener.subscription.close()
    assert not listener.hears(b"late")
    owner = redis_cluster.master_of(CHANNEL)
    eventually(lambda: owner.ask("PUBSUB SHARDNUMSUB", CHANNEL) == [(CHANNEL, 0)], "its thread has left")


def test_a_single_server_carries_messages(single_redis: RedisNode) -> None:
    listener = Listener([single_redis.address])
    assert eventually(lambda: listener.hears(b"hello"), "it came")
    listener.close()


def test_before_redis_7_a_plain_channel_reaches_the_listener_through_every_node(redis_cluster: RedisNodes) -> None:
    listener = Listener(redis_cluster.addresses, old=True)
    assert eventually(lambda: listener.hears(b"hello"), "it came")
    assert sum(count for node in redis_cluster.masters() for _, count in node.ask("PUBSUB NUMSUB", CHANNEL)) >= 1
    listener.close()


def test_a_listener_changes_over_once_the_servers_are_updated(redis_cluster: RedisNodes) -> None:
    listener = Listener(redis_cluster.addresses, old=True)
    for connection in (listener.one, listener.other):
        connection._watch.updated = True  # type: ignore[attr-defined]
    eventually(lambda: listener.gaps == 2, "it has subscribed again")
    assert eventually(lambda: listener.hears(b"hello"), "it came")
    listener.close()
