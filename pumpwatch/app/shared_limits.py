"""Share limits and sessions with other collectors, if the config names a Redis."""

from __future__ import annotations

import os
import socket

from pumpwatch.config_cluster import ClusterConfig
from pumpwatch.redis.connection import RedisConnection
from pumpwatch.redis.rate_limits import SharedApiLimit, SharedWindows
from pumpwatch.redis.sessions import SharedSessions
from pumpwatch.redis.venue_budgets import AddressBudgets
from pumpwatch.stats import Stats
from pumpwatch.supervisor import Supervisor


class SharedLimits:
    """The budgets of this collector's address, and the limits and sessions of the API, kept in Redis for all collectors."""

    def __init__(self, connection: RedisConnection, cluster: ClusterConfig, stats: Stats) -> None:
        host = socket.gethostname()
        windows = SharedWindows(connection)
        member = f"{cluster.member or host}:{os.getpid()}"  # two processes run while one takes over from the other
        self.budgets = AddressBudgets(windows, cluster.address or host, member, stats)
        self.requests, self.sessions = SharedApiLimit(windows), SharedSessions(connection)


def shared_limits(connection: RedisConnection | None, cluster: ClusterConfig, stats: Stats) -> SharedLimits | None:
    """Return the shared limits of a connection; None without one."""
    return SharedLimits(connection, cluster, stats) if connection is not None else None


def be_present(shared: SharedLimits | None, supervisor: Supervisor) -> None:
    """Announce this collector to the others at its address, until `be_absent`."""
    if shared is not None:
        supervisor.spawn("address", shared.budgets.run)


def be_absent(shared: SharedLimits | None) -> None:
    """End what `be_present` began."""
    if shared is not None:
        shared.budgets.stop()
