"""The figures of a collector: written whole, in a thread, by the steady clock."""

from __future__ import annotations

import json
import stat
import threading
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import gevent
import numpy as np

from pumpwatch.app.collector import Collector
from pumpwatch.app.status import Status, in_bins
from pumpwatch.clock import FakeClock
from pumpwatch.ops.health import FILE


class SlowDisk:
    """A journal whose files take their time to say how large they are."""

    def __init__(self) -> None:
        self.asked, self.answer = threading.Event(), threading.Event()

    def size_bytes(self) -> int:
        self.asked.set()
        assert self.answer.wait(10)
        return 4711


def test_figures_are_written_while_everything_else_goes_on(collector: Collector, tmp_path: Path) -> None:
    disk = SlowDisk()
    collector.journal = disk  # type: ignore[assignment]
    part = gevent.spawn(collector.status.write)
    with gevent.Timeout(10):
        while not disk.asked.is_set():
            gevent.sleep(0.001)
    assert not part.dead and not (tmp_path / FILE).exists()
    disk.answer.set()
    part.join(10)
    assert json.loads((tmp_path / FILE).read_text("utf-8"))["journal"]["bytes"] == 4711
    assert collector.status.now()["journal"]["bytes"] == 4711


def test_figures_that_cannot_be_written_are_counted(tmp_path: Path, collector: Collector) -> None:
    (tmp_path / FILE).with_suffix(".new").mkdir()
    collector.status.write()
    assert collector.stats.get("figures_not_written_total") == 1


def test_figures_are_not_for_everybody_and_count_their_time_by_the_steady_clock(tmp_path: Path, collector: Collector) -> None:
    (tmp_path / FILE).with_suffix(".new").write_text("left by a killed run")
    (tmp_path / FILE).with_suffix(".new").chmod(0o666)
    clock = FakeClock()
    collector.clock = clock
    collector.status = Status(collector)
    clock.advance(5)
    clock.step(-3600)
    collector.status.write()
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o640
    assert json.loads((tmp_path / FILE).read_text("utf-8"))["up_s"] == 5.0


def test_figures_have_how_long_each_trade_took_to_be_durable(collector: Collector) -> None:
    collector.committer.latency_ms[[3, 90]] = 98, 2
    journal = collector.status.now()["journal"]
    assert journal["durable_ms"] == [[3, 98], [90, 2]]
    assert (journal["durable_ms_p50"], journal["durable_ms_p99"]) == (3, 90)


def test_long_latencies_are_in_bins_so_that_the_figures_stay_small(collector: Collector) -> None:
    bins = in_bins(np.ones_like(collector.committer.latency_ms))
    assert len(bins) <= 420 and sum(count for _, count in bins) == len(collector.committer.latency_ms)
    assert bins[:101] == [[ms, 1] for ms in range(101)] and bins[-1][0] == len(collector.committer.latency_ms) - 1
    for (before, _), (ms, count) in pairwise(bins):
        assert count == ms - before and (count == 1 or count <= 0.0152 * before + 1)


class Venue:
    """A venue whose counts a test sets."""

    name, exchange, market_type = "a.spot", "a", "spot"


def test_a_venue_is_silent_for_as_long_as_no_trade_is_read_and_the_start_counts_as_one(collector: Collector) -> None:
    clock = FakeClock()
    collector.clock = clock
    collector.venues = [SimpleNamespace(venue=Venue, reads_nothing=False,
                                        status=lambda: {"exchange": "a", "market_type": "spot"})]
    status = Status(collector)
    clock.advance(7)
    assert status.now()["venues"][0]["silent_s"] == 7.0
    collector.stats.add("trades_total", 3, venue="a.spot")
    assert status.now()["venues"][0]["silent_s"] == 0.0
    clock.advance(4)
    assert status.now()["venues"][0]["silent_s"] == 4.0


def test_rates_are_over_ten_seconds_however_often_somebody_asks(collector: Collector) -> None:
    clock = FakeClock()
    collector.clock = clock
    collector.venues = [SimpleNamespace(venue=Venue, reads_nothing=False,
                                        status=lambda: {"exchange": "a", "market_type": "spot"})]
    status = Status(collector)
    rates = set()
    for _ in range(30):
        collector.stats.add("trades_total", 100, venue="a.spot")
        clock.advance(1)
        for _ in range(20):
            rates.add(status.now()["venues"][0]["trades_per_s"])
    assert rates == {0.0, 100.0}


def test_the_machine_is_looked_at_when_the_figures_are_written(collector: Collector, tmp_path: Path) -> None:
    collector.memory.look()
    collector.status.write()
    collector.status.write()  # what the first one found is in the second
    figures = json.loads((tmp_path / FILE).read_text("utf-8"))
    assert figures["files"]["open"] > 3
    assert 0 < figures["memory"]["used_ratio"] < 1
    assert figures["clock_offset_s"] is None and figures["active_alerts"] == [] and figures["queries"]["total"] == 0
