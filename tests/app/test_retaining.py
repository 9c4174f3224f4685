"""A running collector removes what is old, by the level of its disks, and at once where it is asked to."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from gevent.monkey import get_original

from pumpwatch.app.collector import Collector
from pumpwatch.app.retaining import Retaining
from pumpwatch.config import Config
from pumpwatch.config_disk import DiskConfig
from pumpwatch.errors import ServiceUnavailable
from pumpwatch.ops.cold_tier import ColdTier
from pumpwatch.ops.disk_watch import DiskUse, DiskWatch, Level
from pumpwatch.ops.retention_request import drop
from pumpwatch.sink_abilities import StoredDay
from tests.ops.scripted_sink import DaySink

get_ident = get_original("_thread", "get_ident")


class NearSink(DaySink):
    """A sink on this machine, which may be down."""

    down = False

    def __init__(self, now_ns: int, days: int) -> None:
        super().__init__(now_ns, days)
        self.asked_in: set[int] = set()

    def files_in(self) -> str:
        self.asked_in.add(get_ident())
        if self.down:
            raise ServiceUnavailable("it is down")
        return "/near"

    def days(self) -> list[StoredDay]:
        if self.down:
            raise ServiceUnavailable("it is down")
        return super().days()


@pytest.fixture
def sink(collector: Collector) -> NearSink:
    """The one sink of the collector, on a disk that is 90 % full."""
    made = NearSink(time.time_ns(), 40)
    collector.cold_tiers = [ColdTier("near", made, DiskConfig(), collector.clock)]
    collector.disk = DiskWatch(DiskConfig(), collector.clock, Path("/store"), Path("/store"),
                               lambda folder: DiskUse(1000, 100 if folder == Path("/near") else 900))
    return made


def retaining(collector: Collector) -> Retaining:
    return Retaining(collector, lambda: None)


def test_the_disk_of_a_sink_that_is_near_is_watched_and_its_level_decides(collector: Collector, sink: NearSink) -> None:
    jobs = retaining(collector)
    jobs.drop_days()
    collector.disk.look()
    assert collector.disk.level("near") is Level.EMERGENCY and len(sink.held) == 40
    jobs.drop_days()
    assert len(sink.held) == 25
    assert collector.status.now()["disk"]["tiers"]["cold"][0]["days"] == 40, "as of the last look"


def test_a_sink_that_is_down_is_told_once(collector: Collector, sink: NearSink, caplog: pytest.LogCaptureFixture) -> None:
    jobs, sink.down = retaining(collector), True
    for _ in range(3):
        jobs.drop_days()
    assert caplog.text.count("old days not checked sink=near") == 1


def test_a_request_runs_it_at_once(collector: Collector, sink: NearSink, tmp_path: Path) -> None:
    jobs = retaining(collector)
    jobs.drop_days()
    collector.disk.look()
    jobs.take_request()
    assert len(sink.held) == 40, "nobody asked"
    drop(collector.folder)
    collector.journal.open()
    try:
        jobs.take_request()
    finally:
        collector.journal.close()
    assert len(sink.held) == 25


def test_other_options_count_from_the_next_run_on(collector: Collector, sink: NearSink) -> None:
    jobs = retaining(collector)
    jobs.options_changed(Config(disk=DiskConfig(emergency_days=10)))
    jobs.drop_days()
    collector.disk.look()
    jobs.drop_days()
    assert len(sink.held) == 10


class Place:
    """A collector's place in a cluster: member `a` on host `h1`; `b`, on another host or the same, leads."""

    def __init__(self, roles: frozenset[str], host_of_leader: str) -> None:
        self.member, self.coordinator, self.roles, self.host = "a", self, roles, host_of_leader

    def member_rows(self) -> list[dict[str, object]]:
        return [{"member": "a", "host": "h1", "roles": sorted(self.roles)},
                {"member": "b", "host": self.host, "roles": [] if "leader" in self.roles else ["leader"]}]


def test_in_a_cluster_the_leader_drops_days_and_who_has_the_files(collector: Collector, sink: NearSink) -> None:
    retaining, (near,) = Retaining(collector, lambda: None), collector.cold_tiers
    far = ColdTier("far", DaySink(time.time_ns(), 40), DiskConfig(), collector.clock)
    assert retaining._drops(near) and retaining._drops(far)  # alone
    leads = frozenset({"leader"})
    for roles, host, tier, drops in ((leads, "h2", near, True), (leads, "h2", far, True), (frozenset[str](), "h2", near, True),
                                     (frozenset[str](), "h1", near, False), (frozenset[str](), "h2", far, False)):
        collector.cluster = Place(roles, host)  # type: ignore[assignment]
        assert retaining._drops(tier) == drops
    assert sink.asked_in and get_ident() not in sink.asked_in, "a server that hangs would hold up everything"
    sink.down = True
    collector.cluster = Place(frozenset(), "h2")  # type: ignore[assignment]
    retaining.drop_days()  # it does not raise
