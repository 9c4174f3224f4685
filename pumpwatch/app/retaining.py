"""Retention of a running collector: the journal by age, size and disk, and old days of its sinks."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from gevent.threadpool import ThreadPool

from pumpwatch.app.parts import CollectorParts
from pumpwatch.config import Config
from pumpwatch.errors import PumpWatchError
from pumpwatch.ops.cold_tier import ColdTier, cold_target
from pumpwatch.ops.retention import Retention
from pumpwatch.ops.retention_request import take_requests

log = logging.getLogger(__name__)

LEADER = "leader"  # the role in `cluster.roles`, which is not imported without a cluster


class Retaining:
    """The jobs that remove old data. Sinks are queried in a separate thread, because copying a day takes minutes."""

    def __init__(self, collector: CollectorParts, counted: Callable[[], int | None]) -> None:
        self._collector, self._thread = collector, ThreadPool(1)
        self.journal = Retention(collector.threaded_journal, collector.config.store, list(collector.drains), collector.clock,
                                 collector.stats, counted, collector.disk, collector.config.disk)
        self._refused: dict[str, str] = {}  # sink -> reason

    def drop_days(self) -> None:
        """Copy and drop the days of each sink that are due at the level of its disk; in a cluster, if this member does it."""
        for tier in self._collector.cold_tiers:
            try:
                if not self._drops(tier):
                    continue
                self._thread.apply(self._drop_days_of, (tier,))
            except PumpWatchError as error:
                if self._refused.get(tier.name) != error.message:
                    log.warning("old days not checked sink=%s reason=%s", tier.name, error)
                self._refused[tier.name] = error.message
            else:
                self._refused.pop(tier.name, None)

    def _drops(self, tier: ColdTier) -> bool:
        """Return whether this member drops days of a sink: if it is the leader, or has the sink's files on another host."""
        cluster = self._collector.cluster
        if cluster is None or LEADER in cluster.coordinator.roles:
            return True
        hosts = {str(row["member"]): row["host"] for row in cluster.coordinator.member_rows()}
        leads = next((row["host"] for row in cluster.coordinator.member_rows() if LEADER in row["roles"]), None)
        return leads is not None and leads != hosts.get(cluster.member) and bool(self._thread.apply(tier.files_in))

    def _drop_days_of(self, tier: ColdTier) -> None:
        disk = self._collector.disk
        if folder := tier.files_in():
            disk.watch(tier.name, Path(folder))
        tier.run(disk.level(tier.name), disk.only_recording)

    def take_request(self) -> None:
        """Run at once if `pumpwatch retention` has requested it."""
        if take_requests(self._collector.folder):
            log.info("retention requested")
            self.journal.run()
            self.drop_days()

    def options_changed(self, config: Config) -> None:
        """Use other options from the next run on."""
        self.journal.options_changed(config.store, config.disk)
        self._collector.disk.options_changed(config.disk)
        for tier in self._collector.cold_tiers:
            tier.options_changed(config.disk, cold_target(config.disk))
