"""Findings about the cluster that a config names: whether its members would share the symbols in the same way."""

from __future__ import annotations

import importlib.util

from pumpwatch.clock import Clock
from pumpwatch.config import Config
from pumpwatch.errors import PluginError, ServiceUnavailable
from pumpwatch.findings import FAIL, OK, WARN, Finding
from pumpwatch.plugins import Plugins

NAME = "cluster"


def cluster_findings(config: Config, plugins: Plugins) -> list[Finding]:
    """Return how the config fits the living members; nothing without a cluster, or where Redis does not answer."""
    if not config.cluster.name or importlib.util.find_spec("redis") is None:
        return []
    import socket

    from pumpwatch.cluster.agreement import CLOCK_HINT, CLOCK_S, HINT, WITHIN_S, ask_agreement, chosen_symbols
    from pumpwatch.cluster.facts import settings_of
    from pumpwatch.redis.connection import RedisConnection

    try:
        parts = {venue.name: part for venue, part in plugins.chosen(config)}
    except PluginError:
        return []  # a finding of its own
    redis = RedisConnection(config.redis, quiet=True)
    try:
        redis.connect(WITHIN_S)
        found = ask_agreement(redis, config.cluster.name, config.cluster.member or socket.gethostname(),
                              settings_of(config.cluster, list(parts)), chosen_symbols(parts), Clock())
    except ServiceUnavailable:
        return []  # a finding of Redis
    finally:
        redis.close()
    findings = []
    if found.differences:
        findings.append(Finding(NAME, FAIL, f"{config.cluster.name}: other settings than its members: {found.describe()}", HINT))
    else:
        with_whom = f"the same settings as {', '.join(found.members)}" if found.members else "no other member lives"
        findings.append(Finding(NAME, OK, f"{config.cluster.name}: {with_whom}"))
    if abs(found.clock_s) > CLOCK_S:
        findings.append(Finding(NAME, WARN, f"this clock is {found.clock_s:+.1f} s from that of Redis", CLOCK_HINT))
    return findings
