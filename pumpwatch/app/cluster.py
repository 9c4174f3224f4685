"""Make a collector a member of its cluster: the coordinator decides which shards it reads, and the feeds read them.

The coordinator does not know venues, and the feeds do not know other collectors.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Mapping
from typing import Any

from pumpwatch import __version__
from pumpwatch.app.parts import CollectorParts
from pumpwatch.app.shard_feeds import ShardFeeds
from pumpwatch.cluster.agreement import CLOCK_HINT, CLOCK_S, HINT, ask_agreement, chosen_symbols
from pumpwatch.cluster.coordinator import Coordinator
from pumpwatch.cluster.facts import MemberFacts, settings_of
from pumpwatch.cluster.roles import LEADER
from pumpwatch.cluster.venue_health import VenueHealth
from pumpwatch.cluster.work_claims import WorkClaims
from pumpwatch.config import VenueConfig
from pumpwatch.model import TradeBatch
from pumpwatch.redis.connection import RedisConnection
from pumpwatch.redis.errors import RedisUnavailable
from pumpwatch.store.folder_lock import is_taken_over

log = logging.getLogger(__name__)

LEAVE_S = 15.0  # the other members have this long to take over the shards of this collector before it stops reading
OnRole = Callable[[str, bool], None]


class ClusterMember:
    """This collector as a member of its cluster. Raises ConfigError without the package `redis`.

    Call `join` before anything is read, then `start`; at the end `leave`, `end_reading` when the sockets close, and `stop` when
    all is durable.
    """

    def __init__(self, collector: CollectorParts, venues: Mapping[str, VenueConfig]) -> None:
        config, host = collector.config, socket.gethostname()
        self._collector = collector
        self.name, self.member = config.cluster.name, config.cluster.member or host
        assert collector.redis is not None  # the config has nodes where it names a cluster
        self.redis: RedisConnection = collector.redis
        self._feeds = ShardFeeds(collector)
        facts = MemberFacts(member=self.member, host=host, address=config.cluster.address or host,
                            instance=f"{host}:{collector.folder.absolute()}", version=__version__, pid=os.getpid(),
                            started_at_ns=collector.started_at_ns, chosen=chosen_symbols(venues))
        self._chosen, self._settings = chosen_symbols(venues), settings_of(config.cluster, list(venues))
        self._health = VenueHealth(self.redis, self.name, self.member)
        self.once = WorkClaims(self.redis, self.name, self.member, config.cluster.lease_s)
        self._role_listeners: list[OnRole] = []
        self.coordinator = Coordinator(self.redis, config.cluster, facts, list(venues), self._feeds, collector.clock,
                                       collector.stats, self._call_role_listeners)

    def join(self) -> bool:
        """Enter the cluster; return False if Redis is away. Raises ConfigError if the members have other settings."""
        self.redis.connect()
        joined = self.coordinator.join()
        if joined:
            self._compare()
        return joined

    def _compare(self) -> None:
        """Name in one line what would have symbols unread, or times wrong; what no member may differ in was refused before."""
        try:
            found = ask_agreement(self.redis, self.name, self.member, self._settings, self._chosen, self._collector.clock)
        except RedisUnavailable:
            return
        if found.differences:
            log.warning("members of the cluster have other settings cluster=%s: %s; %s", self.name, found.describe(), HINT)
        if abs(found.clock_s) > CLOCK_S:
            log.warning("this clock is %+.1f s from that of Redis; %s", found.clock_s, CLOCK_HINT)

    def start(self) -> None:
        """Read the shards that the coordinator assigns from now on."""
        self._collector.supervisor.spawn("cluster", self.coordinator.run)

    def leave(self) -> None:
        """Hand all shards over while still reading, for at most LEAVE_S. Return at once if a process takes over this folder."""
        if is_taken_over(self._collector.folder):
            return
        if not self.coordinator.leave(LEAVE_S) and self.coordinator.held:
            log.info("shards not handed over in time, other members take them at once shards=%d", len(self.coordinator.held))

    def end_reading(self) -> None:
        """Record that nothing is read from now on; trades received until now count."""
        self._feeds.end_reading()

    def stop(self) -> None:
        """Release the leases, as of the last durable trade."""
        self.coordinator.stop()

    def durable(self, batch_id: int, batch: TradeBatch) -> None:
        """Record a durable batch."""
        self._feeds.durable(batch_id, batch)

    def on_role(self, callback: OnRole) -> None:
        """Call `callback` with each role that this member gains (True) or loses (False)."""
        self._role_listeners.append(callback)

    def _call_role_listeners(self, role: str, holds: bool) -> None:
        for callback in self._role_listeners:
            callback(role, holds)

    def status(self) -> dict[str, Any]:
        """Return the figures for status.json."""
        return self.coordinator.status()

    def health_rows(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the health rows to be written here: those of all members if this one leads, else none.

        While Redis does not answer, they are this member's own, and the table has those of the member that wrote last.
        """
        try:
            joined = self._health.exchange(rows)
        except RedisUnavailable:
            return rows
        return joined if LEADER in self.coordinator.roles else []

    def slice_spans(self, venue: str, symbol: str) -> tuple[tuple[int, int], ...]:
        """Return the times [from_ns, to_ns) in which this run read a symbol's slice, for at least the last two days."""
        return self._feeds.spans(venue, symbol)
