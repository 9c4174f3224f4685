"""Listens to a channel in its own thread; messages reach the hub at once.

A channel is sharded if the server supports that (7 or newer): a message goes only to the node of the channel's slot, not through
every node of the cluster. The thread pings the node every second, so that a node that hangs is noticed.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import gevent
from gevent.monkey import get_original

from pumpwatch.config_redis import RedisConfig
from pumpwatch.redis.errors import explain
from pumpwatch.redis.node_watch import NodeWatch

log = logging.getLogger(__name__)

ASK_S = 1.0  # between two pings of the node, and for its answer
AGAIN_S = 0.1  # between the first tries to subscribe; it then grows up to ASK_S
WAITING = 10_000  # messages that wait for the hub; beyond that they are dropped, which is a gap
_sleep = get_original("time", "sleep")


class Subscription:
    """A subscription to one channel, which renews itself after a break."""

    def __init__(self, config: RedisConfig, watch: NodeWatch, channel: str, on_message: Callable[[bytes], None],
                 on_gap: Callable[[], None] | None) -> None:
        self._config, self._watch, self.channel = config, watch, channel
        self._on_message, self._on_gap = on_message, on_gap
        self._hub = gevent.get_hub()
        self._messages: deque[bytes | None] = deque(maxlen=WAITING)  # None: a gap
        self._wake = self._hub.loop.async_()
        self._handing: gevent.Greenlet[[], None] | None = None
        self._pubsub: Any = None
        self._closed = False
        self.connected = False

    def start(self) -> None:
        self._wake.start(self._deliver)
        get_original("_thread", "start_new_thread")(self._run, ())

    def close(self) -> None:
        """End the subscription; a thread that waits for messages ends at once."""
        self._closed = True
        self._wake.stop()
        sock = getattr(getattr(self._pubsub, "connection", None), "_sock", None)
        if sock is not None:
            with contextlib.suppress(OSError):  # it has just been closed
                sock.shutdown(socket.SHUT_RDWR)

    def _deliver(self) -> None:
        """Deliver the messages on the hub, in a greenlet, because the callbacks may wait."""
        if self._messages and (self._handing is None or self._handing.dead):
            self._handing = gevent.spawn(self._deliver_all)

    def _deliver_all(self) -> None:
        while self._messages and not self._closed:
            message = self._messages.popleft()
            if message is not None:
                self._on_message(message)
            elif self._on_gap:
                self._on_gap()

    def _put(self, message: bytes | None) -> None:
        if len(self._messages) >= WAITING - 1:
            self._messages.clear()
            self._messages.append(None)
        self._messages.append(message)
        if not self._closed:
            self._wake.send()

    def _run(self) -> None:
        from pumpwatch.redis.clients import FAILURES, node_client

        wait_s = AGAIN_S
        while not self._closed:
            address = self._watch.master_of_channel(self.channel)
            if address is not None:
                client = node_client(self._config, address, ASK_S, self._watch.away.sockets)
                try:
                    self._follow(client)
                    wait_s = AGAIN_S
                except FAILURES as error:
                    log.debug("subscription ended channel=%s reason=%s", self.channel, explain(error).message)
                    if self.connected:
                        wait_s = AGAIN_S
                finally:
                    self.connected = False
                    client.close()
                self._watch.look_now()
            _sleep(wait_s)
            wait_s = min(ASK_S, wait_s * 1.5)

    def _follow(self, client: Any) -> None:
        """Receive until the subscription is closed, the slot moves to another node, or the node is away."""
        self._pubsub = pubsub = client.pubsub()
        sharded = self._watch.sharded
        try:
            (pubsub.ssubscribe if sharded else pubsub.subscribe)(self.channel)
            heard = asked = time.monotonic()
            while not self._closed:
                message = pubsub.get_message(timeout=ASK_S / 4)
                now = time.monotonic()
                if message is not None:
                    heard = now
                    kind = message["type"]
                    if kind in ("message", "smessage"):
                        self._put(message["data"])
                    elif kind in ("subscribe", "ssubscribe"):
                        self.connected = True
                        self._put(None)
                    elif kind in ("unsubscribe", "sunsubscribe"):
                        return  # the slot was moved to another node
                elif now - heard > 2 * ASK_S:
                    return  # the node hangs
                if self._watch.sharded != sharded:
                    return  # the server was updated, and others now publish in the other way
                if now - asked > ASK_S:
                    asked = now
                    pubsub.ping()
        finally:
            pubsub.close()
