"""Checks in its own thread which nodes of Redis answer and which slots they serve.

Only this thread waits for a node that is away: callers of Redis read its findings and answer from local state.
"""

from __future__ import annotations

import logging
import time
from _queue import Empty, SimpleQueue
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gevent.monkey import get_original

from pumpwatch.config_redis import RedisConfig
from pumpwatch.redis.errors import RedisUnavailable, explain

if TYPE_CHECKING:
    from pumpwatch.redis.clients import Address, AwayNodes

log = logging.getLogger(__name__)

LOOK_S = 1.0  # between two looks while every node answers
AWAY_S = 0.1  # between the first looks while a node does not; it then grows up to LOOK_S
PASSWORD_S = 30.0  # a server may lock out a client that tries a wrong password too often
NAMELESS = "?"  # the name of a node that should announce a host name and has none
PING_S = 0.25  # a node that does not answer for this long is away


class NodeWatch:
    """The state of the nodes. Attributes are read by any thread; they are replaced, never changed."""

    def __init__(self, config: RedisConfig, away: AwayNodes, on_change: Callable[[], None], *,
                 quiet: bool = False) -> None:
        self._config, self.away, self._on_change, self._quiet = config, away, on_change, quiet
        self.looked = False  # the first look has ended
        self.failed_looks = 0  # since the last look at which every master answered
        self.trouble: RedisUnavailable | None = RedisUnavailable("not connected yet", "away")  # None: some node answers
        self.cluster = False
        self.version = ""  # of the server
        self.masters: dict[Address, list[tuple[int, int]]] = {}  # their slots; a single server has all
        self.known: list[Address] = []
        self._wakes: SimpleQueue[bool] = SimpleQueue()  # a native queue, whether the process is patched or not
        self._clients: dict[Address, Any] = {}
        self._away_since = 0.0
        self._logged = ""

    @property
    def partial(self) -> str:
        """Return which masters are away and why; empty if all answer."""
        reasons = self.away.reasons
        return "; ".join(f"node {host}:{port}: {reasons[host, port]}" for host, port in self.masters if (host, port) in reasons)

    @property
    def sharded(self) -> bool:
        """Return whether the server has sharded channels, which belong to a slot."""
        return int(self.version.partition(".")[0] or 0) >= 7

    def start(self) -> None:
        """Start the thread."""
        get_original("_thread", "start_new_thread")(self._run, ())

    def look_now(self) -> None:
        """Look at the nodes now, because a call failed."""
        if self._wakes.empty():
            self._wakes.put(True)

    def stop(self) -> None:
        self._wakes.put(False)

    def master_of_channel(self, channel: str) -> Address | None:
        """Return the node that serves a channel, or None."""
        from redis.crc import key_slot

        slot = key_slot(channel.encode())
        return next((address for address, ranges in self.masters.items() for first, last in ranges if first <= slot <= last),
                    None)

    def _run(self) -> None:
        wait_s = AWAY_S
        while True:
            self._look()
            if self.trouble is None and not self.partial:
                wait_s, pause_s = AWAY_S, LOOK_S
            else:
                wait_s = min(LOOK_S, wait_s * 1.5)
                pause_s = PASSWORD_S if self.trouble and self.trouble.kind == "password" else wait_s
            try:
                if not self._wakes.get(timeout=pause_s):
                    break
            except Empty:
                pass
        for client in self._clients.values():
            client.close()

    def _look(self) -> None:
        """Check every node once, and log a change of state."""
        from pumpwatch.redis.clients import configured

        trouble: RedisUnavailable | None = None
        candidates = dict.fromkeys((*self.masters, *self.known, *configured(self._config)))
        for address in sorted(candidates, key=self.away.reasons.__contains__):  # nodes that hang are last
            found = self._read_map(address)
            trouble = found if trouble is None or found is None or found.kind in ("cluster_down", "loading") else trouble
            if found is None or found.kind == "password":
                trouble = found
                break
        for address in self.known if trouble is None else ():
            reason = self._ping(address)
            if reason:
                self.away.reasons = {**self.away.reasons, address: reason}
            elif address in self.away.reasons:
                self.away.reasons = {key: text for key, text in self.away.reasons.items() if key != address}
        self.trouble = trouble
        self.failed_looks = self.failed_looks + 1 if trouble or self.partial else 0
        self.looked = True
        self._log_change()
        self._on_change()

    def _client(self, address: Address) -> Any:
        from pumpwatch.redis.clients import node_client

        if address not in self._clients:
            self._clients[address] = node_client(self._config, address, PING_S, self.away.sockets)
        return self._clients[address]

    def _read_map(self, address: Address) -> RedisUnavailable | None:
        """Read a node's slot map. Returns the problem, or None."""
        from pumpwatch.redis.clients import FAILURES

        client = self._client(address)
        try:
            facts = client.info("server") | client.info("cluster")  # each time, because a restart may change them
            self.version, self.cluster = str(facts["redis_version"]), bool(facts.get("cluster_enabled"))
            if not self.cluster:
                client.ping()
                self.known, self.masters = [address], {address: [(0, 16383)]}
                return None
            state = client.execute_command("CLUSTER INFO")
            slots = client.execute_command("CLUSTER SLOTS")
            is_whole = state["cluster_state"] == "ok"
        except FAILURES as error:
            return explain(error)
        except (ValueError, LookupError, TypeError) as error:
            return RedisUnavailable(f"{address[0]}:{address[1]} does not answer like Redis ({error!r:.100})", "rejected")
        if not is_whole:
            return RedisUnavailable("the cluster is down: some slots have no master, or most masters are out of reach",
                                    "cluster_down")
        masters: dict[Address, list[tuple[int, int]]] = {}
        known = []
        for first, last, *nodes in slots:
            found = [_address(node, address) for node in nodes]
            if NAMELESS in (host for host, _ in found):
                return RedisUnavailable("the nodes do not report their addresses: set cluster-announce-hostname, or"
                                        " cluster-preferred-endpoint-type ip, on each", "rejected")
            masters.setdefault(found[0], []).append((first, last))
            known += found
        if masters != self.masters:
            self.masters, self.known = masters, list(dict.fromkeys(known))
            self.away.reasons = {key: text for key, text in self.away.reasons.items() if key in self.known}
            self.away.version += 1
        return None

    def _ping(self, address: Address) -> str:
        """Return why a node does not answer; empty if it answers."""
        from pumpwatch.redis.clients import FAILURES

        try:
            self._client(address).ping()
        except FAILURES as error:
            return explain(error).message
        return ""

    def _log_change(self) -> None:
        """Log a change of state once."""
        reason = self.trouble.message if self.trouble else self.partial
        if self._quiet or bool(reason) == bool(self._logged):
            return
        if reason:
            self._away_since = time.monotonic()
            what = "redis is away" if self.trouble else "a part of redis is away"
            log.warning("%s, local state answers instead reason=%s", what, reason)
        else:
            log.warning("redis is back after_s=%.1f", time.monotonic() - self._away_since)
        self._logged = reason


def _address(node: Any, asked: Address) -> Address:
    """Return a node's address. A node that does not know its own address is the one that was asked."""
    return (node[0].decode() if node[0] else asked[0], int(node[1]))
